package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
)

func TestTheFoldOfOrders(t *testing.T) {
	buy := func(invoice, customer, stock string, quantity int64) line {
		return line{invoice: invoice, customer: customer, stock: stock, quantity: quantity, raw: fmt.Appendf(nil, "%s %s %d", invoice, stock, quantity)}
	}
	for _, test := range []struct {
		name  string
		lines []line
		want  map[string]string
	}{
		{
			"what is bought is in the cart",
			[]line{buy("1", "7", "mug", 2), buy("1", "7", "kite", 1), buy("1", "7", "mug", 3)},
			map[string]string{
				"set carts.t/7": `["kite" "mug"]`, "counter quantities.t/7/mug": "5", "counter quantities.t/7/kite": "1",
				"register last-invoices.t/7": `"1"`, "blob invoices.t/1": `"1 mug 2\n1 kite 1\n1 mug 3\n"`,
			},
		},
		{
			"what goes back altogether leaves an empty cart and a zero",
			[]line{buy("1", "7", "mug", 2), buy("C2", "7", "mug", -2)},
			map[string]string{
				"set carts.t/7": `[]`, "counter quantities.t/7/mug": "0", "register last-invoices.t/7": `"C2"`,
				"blob invoices.t/1": `"1 mug 2\n"`, "blob invoices.t/C2": `"C2 mug -2\n"`,
			},
		},
		{
			"a debt has to be bought off before the cart shows anything",
			[]line{buy("C1", "7", "mug", -4), buy("2", "7", "mug", 4), buy("C3", "8", "mug", -4), buy("4", "8", "mug", 5)},
			map[string]string{
				"set carts.t/7": `[]`, "counter quantities.t/7/mug": "0", "register last-invoices.t/7": `"2"`,
				"set carts.t/8": `["mug"]`, "counter quantities.t/8/mug": "1", "register last-invoices.t/8": `"4"`,
				"blob invoices.t/C1": `"C1 mug -4\n"`, "blob invoices.t/2": `"2 mug 4\n"`,
				"blob invoices.t/C3": `"C3 mug -4\n"`, "blob invoices.t/4": `"4 mug 5\n"`,
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := map[string]string{}
			for at, picture := range foldOrders("t", test.lines) {
				got[at.String()] = picture
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestABasketFoldsToTheSetOfItsItems(t *testing.T) {
	got := foldBaskets("t", []basket{{3, []string{"milk", "eggs", "milk"}}})
	want := pictures{{cartwheel.TypeSet, "baskets.t", "basket-3"}: `["eggs" "milk"]`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestASetThatListsAMemberTwiceLooksLikeNoOther(t *testing.T) {
	if once, twice := pictureOfSet([]string{"b", "a"}), pictureOfSet([]string{"a", "b", "a"}); once == twice {
		t.Errorf("both look like %s", once)
	}
}

// The samples are there for those who have no other file, so they have to hold
// what makes the real ones hard.
func TestTheSamplesHoldWhatMakesTheRealFilesHard(t *testing.T) {
	lines, err := parseOrders(sampleOrders)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	totals := map[string]int64{}
	for _, l := range lines {
		pair := l.customer + "/" + l.stock
		before := totals[pair]
		totals[pair] += l.quantity
		now := totals[pair]
		for trait, has := range map[string]bool{
			"a line without a customer":            l.customer == guest,
			"a cancellation":                       strings.HasPrefix(l.invoice, "C"),
			"a quantity back to zero":              before > 0 && now == 0,
			"a quantity below zero":                now < 0,
			"a part that goes back":                l.quantity < 0 && now > 0,
			"a quantity that comes back from debt": before < 0 && now > 0,
			"a comma in quotes":                    strings.Count(string(l.raw), ",") > 7,
			"a doubled quote":                      strings.Contains(string(l.raw), `""`),
			"a byte that is not UTF-8":             !strings.HasPrefix(pictureOfBytes(l.raw), `"\`) && strings.Contains(pictureOfBytes(l.raw), `\x`),
		} {
			seen[trait] = seen[trait] || has
		}
	}
	for trait, has := range seen {
		if !has {
			t.Errorf("no line of the sample shows %s", trait)
		}
	}
	baskets, err := parseBaskets(sampleBaskets)
	if err != nil || len(baskets) < 100 {
		t.Errorf("%d baskets, %v", len(baskets), err)
	}
}

func TestEveryLineIsReplayedOnceAndEachCustomersInOrder(t *testing.T) {
	lines, err := parseOrders(sampleOrders)
	if err != nil {
		t.Fatal(err)
	}
	j := newOrders("t", lines)
	if j.steps() != len(lines) {
		t.Errorf("%d steps for %d lines", j.steps(), len(lines))
	}
	perCustomer := map[string]int{}
	for _, l := range lines {
		perCustomer[l.customer]++
	}
	for _, q := range j.queues {
		if len(q.steps) != perCustomer[q.name] {
			t.Errorf("customer %s: %d steps for %d lines", q.name, len(q.steps), perCustomer[q.name])
		}
		delete(perCustomer, q.name)
	}
	if len(perCustomer) > 0 {
		t.Errorf("customers without a queue: %v", slices.Sorted(maps.Keys(perCustomer)))
	}
}
