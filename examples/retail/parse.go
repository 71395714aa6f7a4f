package main

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	//go:embed sample.csv
	sampleOrders []byte
	//go:embed sample-baskets.csv
	sampleBaskets []byte
)

// line is one line of an invoice.
type line struct {
	invoice  string // begins with C for a cancellation
	stock    string
	quantity int64 // negative when goods came back
	customer string
	raw      []byte // as in the file, without the line's end; any bytes
}

// guest is the customer of lines that name none.
const guest = "guest"

// parseOrders reads a file in the form of the Online Retail data: a heading that
// names at least the four columns used here, in any order. Columns that become
// keys must be UTF-8; descriptions may hold anything.
func parseOrders(file []byte) ([]line, error) {
	reader := csv.NewReader(bytes.NewReader(file))
	heading, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("orders: heading: %w", err)
	}
	column := map[string]int{}
	for i, name := range heading {
		column[strings.TrimPrefix(name, "\ufeff")] = i
	}
	for _, name := range []string{"InvoiceNo", "StockCode", "Quantity", "CustomerID"} {
		if _, found := column[name]; !found {
			return nil, fmt.Errorf("orders: no column %s in heading %q", name, heading)
		}
	}
	var lines []line
	for {
		from := reader.InputOffset()
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, fmt.Errorf("orders: %w", err)
		}
		number, _ := reader.FieldPos(0)
		quantity, err := strconv.ParseInt(record[column["Quantity"]], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("orders: line %d: quantity: %w", number, err)
		}
		l := line{
			invoice:  record[column["InvoiceNo"]],
			stock:    record[column["StockCode"]],
			quantity: quantity,
			customer: customer(record[column["CustomerID"]]),
			raw:      bytes.Trim(file[from:reader.InputOffset()], "\r\n"),
		}
		if err := l.check(); err != nil {
			return nil, fmt.Errorf("orders: line %d: %w", number, err)
		}
		lines = append(lines, l)
	}
}

// customer undoes what spreadsheets do to a column of numbers with gaps: 17850.0
// is customer 17850.
func customer(field string) string {
	if field == "" {
		return guest
	}
	return strings.TrimSuffix(field, ".0")
}

func (l line) check() error {
	for _, name := range []struct{ column, value string }{
		{"invoice", l.invoice}, {"stock code", l.stock}, {"customer", l.customer},
	} {
		if name.value == "" || !utf8.ValidString(name.value) {
			return fmt.Errorf("%s %q: want non-empty UTF-8", name.column, name.value)
		}
	}
	// The slash parts customer from stock code in the key of a quantity.
	if strings.Contains(l.customer, "/") {
		return fmt.Errorf("customer %q holds a slash", l.customer)
	}
	return nil
}

// basket is the items of one purchase, by the number of its line from 1.
type basket struct {
	number int
	items  []string
}

// parseBaskets reads a file of one basket a line, items separated by commas. Some
// copies of such files pad short lines with commas: empty items are no items.
func parseBaskets(file []byte) ([]basket, error) {
	reader := csv.NewReader(bytes.NewReader(file))
	reader.FieldsPerRecord = -1
	var baskets []basket
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return baskets, nil
		}
		if err != nil {
			return nil, fmt.Errorf("baskets: %w", err)
		}
		b := basket{}
		b.number, _ = reader.FieldPos(0)
		for _, item := range record {
			if !utf8.ValidString(item) {
				return nil, fmt.Errorf("baskets: line %d: item %q is not UTF-8", b.number, item)
			}
			if item != "" {
				b.items = append(b.items, item)
			}
		}
		if len(b.items) > 0 {
			baskets = append(baskets, b)
		}
	}
}
