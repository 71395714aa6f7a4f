package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

// address is where a value lives.
type address struct {
	kind        cartwheel.DataType
	bucket, key string
}

func (a address) String() string { return fmt.Sprintf("%s %s/%s", a.kind, a.bucket, a.key) }

// run names the buckets of one replay, so that a second one on the same cluster
// does not meet the counters of the first.
type run string

func (r run) bucket(name string) string { return name + "." + string(r) }

func (r run) cart(customer string) address {
	return address{cartwheel.TypeSet, r.bucket("carts"), customer}
}

func (r run) quantity(customer, stock string) address {
	return address{cartwheel.TypeCounter, r.bucket("quantities"), customer + "/" + stock}
}

func (r run) lastInvoice(customer string) address {
	return address{cartwheel.TypeRegister, r.bucket("last-invoices"), customer}
}

func (r run) invoice(number string) address {
	return address{cartwheel.TypeBlob, r.bucket("invoices"), number}
}

func (r run) basket(number int) address {
	return address{cartwheel.TypeSet, r.bucket("baskets"), fmt.Sprintf("basket-%d", number)}
}

// pictures are values by address, each as text that two equal values share and
// that a person can read in a difference.
type pictures map[address]string

// foldOrders is what the store ought to hold after all lines: a loop over the
// file, and nothing else.
func foldOrders(r run, lines []line) pictures {
	carts := map[string]map[string]bool{}
	quantities := map[[2]string]int64{}
	lastInvoices := map[string]string{}
	invoices := map[string][]byte{}
	for _, l := range lines {
		cart, found := carts[l.customer]
		if !found {
			cart = map[string]bool{}
			carts[l.customer] = cart
		}
		pair := [2]string{l.customer, l.stock}
		quantities[pair] += l.quantity
		if quantities[pair] > 0 {
			cart[l.stock] = true
		} else {
			delete(cart, l.stock)
		}
		lastInvoices[l.customer] = l.invoice
		invoices[l.invoice] = append(append(invoices[l.invoice], l.raw...), '\n')
	}
	want := pictures{}
	for customer, cart := range carts {
		want[r.cart(customer)] = pictureOfSet(slices.Collect(maps.Keys(cart)))
	}
	for pair, quantity := range quantities {
		want[r.quantity(pair[0], pair[1])] = strconv.FormatInt(quantity, 10)
	}
	for customer, invoice := range lastInvoices {
		want[r.lastInvoice(customer)] = pictureOfBytes([]byte(invoice))
	}
	for number, raw := range invoices {
		want[r.invoice(number)] = pictureOfBytes(raw)
	}
	return want
}

// foldBaskets is the same for baskets.
func foldBaskets(r run, baskets []basket) pictures {
	want := pictures{}
	for _, b := range baskets {
		items := slices.Clone(b.items)
		slices.Sort(items)
		want[r.basket(b.number)] = pictureOfSet(slices.Compact(items))
	}
	return want
}

// pictureOfSet does not drop repetitions: a store that lists a member twice is
// found out.
func pictureOfSet(members []string) string {
	slices.Sort(members)
	return fmt.Sprintf("%q", members)
}

// pictureOfBytes quotes, so that no value looks like the absence of one.
func pictureOfBytes(value []byte) string { return strconv.Quote(string(value)) }
