package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const heading = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

func TestALineOfAnOrderIsReadAsItWasMeantAndKeptAsItWasWritten(t *testing.T) {
	for _, test := range []struct {
		name, file string
		want       line
	}{
		{
			"a purchase", heading + "536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,17850,United Kingdom\n",
			line{invoice: "536365", stock: "85123A", quantity: 6, customer: "17850", raw: []byte("536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,17850,United Kingdom")},
		},
		{
			"a customer that a spreadsheet took for a fraction", heading + "1,2,,6,,,17850.0,\n",
			line{invoice: "1", stock: "2", quantity: 6, customer: "17850", raw: []byte("1,2,,6,,,17850.0,")},
		},
		{
			"a cancellation", heading + "C1,2,,-6,,,7,\n",
			line{invoice: "C1", stock: "2", quantity: -6, customer: "7", raw: []byte("C1,2,,-6,,,7,")},
		},
		{
			"nobody's line", heading + "1,2,,6,,,,\n",
			line{invoice: "1", stock: "2", quantity: 6, customer: guest, raw: []byte("1,2,,6,,,,")},
		},
		{
			"commas and quotes inside of quotes", heading + `1,2,"FRAME, 7"" WIDE",6,,,7,` + "\n",
			line{invoice: "1", stock: "2", quantity: 6, customer: "7", raw: []byte(`1,2,"FRAME, 7"" WIDE",6,,,7,`)},
		},
		{
			"bytes of another age in a description", heading + "1,2,CAF\xc9 \xa3,6,,,7,\n",
			line{invoice: "1", stock: "2", quantity: 6, customer: "7", raw: []byte("1,2,CAF\xc9 \xa3,6,,,7,")},
		},
		{
			"line ends of another system, and none at the end", strings.ReplaceAll(heading, "\n", "\r\n") + "1,2,,6,,,7,",
			line{invoice: "1", stock: "2", quantity: 6, customer: "7", raw: []byte("1,2,,6,,,7,")},
		},
		{
			"columns in another order", "Quantity,CustomerID,StockCode,InvoiceNo\n6,7,2,1\n",
			line{invoice: "1", stock: "2", quantity: 6, customer: "7", raw: []byte("6,7,2,1")},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseOrders([]byte(test.file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]line{test.want}, got, cmp.AllowUnexported(line{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAFileThatIsNoOrdersIsRefusedWithTheLineAndTheReason(t *testing.T) {
	for _, test := range []struct{ name, file, want string }{
		{"an empty file", "", "heading: EOF"},
		{"another kind of file", "milk,eggs\n", "no column InvoiceNo"},
		{"a quantity in words", heading + "1,2,,6,,,7,\n1,2,,six,,,7,\n", "line 3: quantity"},
		{"a quantity past int64", heading + "1,2,,9223372036854775808,,,7,\n", "line 2: quantity"},
		{"no invoice", heading + ",2,,6,,,7,\n", `line 2: invoice ""`},
		{"a stock code that is not UTF-8", heading + "1,\xa3,,6,,,7,\n", `line 2: stock code "\xa3"`},
		{"a customer that would pass for two names", heading + "1,2,,6,,,7/8,\n", "holds a slash"},
		{"a line cut short", heading + "1,2,,6\n", "wrong number of fields"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := parseOrders([]byte(test.file)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestBasketsAreLinesOfItems(t *testing.T) {
	got, err := parseBaskets([]byte("milk,\"cheese, soft\"\n\nrice,,\n,\neggs\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []basket{{1, []string{"milk", "cheese, soft"}}, {3, []string{"rice"}}, {5, []string{"eggs"}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(basket{})); diff != "" {
		t.Error(diff)
	}
	if _, err := parseBaskets([]byte("milk\n\xa3\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("an item that is not UTF-8: %v", err)
	}
}

func TestAFileThatIsNamedAndAbsentIsAnErrorAndNeverTheSample(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent.csv")
	for _, test := range []struct {
		name string
		args []string
		env  map[string]string
	}{
		{"by flag", []string{"--file", absent}, nil},
		{"by RETAIL", nil, map[string]string{"RETAIL": absent}},
		{"by GROCERIES", []string{"--source", "groceries"}, map[string]string{"GROCERIES": absent}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			err := retail(t.Context(), &out, &out, test.args, func(name string) string { return test.env[name] })
			if err == nil || !strings.Contains(err.Error(), absent) {
				t.Errorf("got %v", err)
			}
		})
	}
}
