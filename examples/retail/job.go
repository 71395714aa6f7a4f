package main

import (
	"context"
	"fmt"
	"os"
)

// job is one file on its way to the cluster.
type job struct {
	name   string // of the file
	about  string // what it holds, in numbers
	queues []queue
	want   pictures
}

// step is the smallest thing a progress bar counts: one line of a file.
type step func(context.Context, *client) error

// queue is steps that run in order; queues run side by side.
type queue struct {
	name  string
	steps []step
}

func (j job) steps() int {
	n := 0
	for _, q := range j.queues {
		n += len(q.steps)
	}
	return n
}

// loadJob reads the file at path, or the sample of the source where path is empty.
func loadJob(source, path string, r run) (job, error) {
	file, name := sampleOrders, "the built-in sample of orders"
	if source == "groceries" {
		file, name = sampleBaskets, "the built-in sample of baskets"
	}
	if path != "" {
		var err error
		if file, err = os.ReadFile(path); err != nil {
			return job{}, err
		}
		name = path
	}
	var j job
	switch source {
	case "retail":
		lines, err := parseOrders(file)
		if err != nil {
			return job{}, fmt.Errorf("%s: %w", name, err)
		}
		j = newOrders(r, lines)
	case "groceries":
		baskets, err := parseBaskets(file)
		if err != nil {
			return job{}, fmt.Errorf("%s: %w", name, err)
		}
		j = newBaskets(r, baskets)
	default:
		return job{}, fmt.Errorf("source %q: want retail or groceries", source)
	}
	j.name = name
	if len(j.queues) == 0 {
		return job{}, fmt.Errorf("%s holds nothing to replay", name)
	}
	return j, nil
}

// newOrders makes a queue of each customer's lines.
func newOrders(r run, lines []line) job {
	whole := map[string][]byte{} // invoices
	for _, l := range lines {
		whole[l.invoice] = append(append(whole[l.invoice], l.raw...), '\n')
	}
	j := job{want: foldOrders(r, lines)}
	at := map[string]int{}      // queue by customer
	last := map[string]string{} // invoice by customer
	filed := map[string]bool{}  // invoices somebody files
	for _, l := range lines {
		i, found := at[l.customer]
		if !found {
			i = len(j.queues)
			at[l.customer] = i
			j.queues = append(j.queues, queue{name: l.customer})
		}
		o := order{run: r, line: l, next: last[l.customer] != l.invoice}
		if !filed[l.invoice] {
			o.whole = whole[l.invoice]
		}
		last[l.customer], filed[l.invoice] = l.invoice, true
		j.queues[i].steps = append(j.queues[i].steps, o.replay)
	}
	j.about = fmt.Sprintf("%d lines of %d invoices for %d customers", len(lines), len(whole), len(j.queues))
	return j
}

// order is a line and what its customer's other lines make of it.
type order struct {
	run
	line
	next  bool   // it begins another invoice of this customer
	whole []byte // all raw lines of the invoice, at its first line in the file
}

func (o order) replay(ctx context.Context, c *client) error {
	if o.whole != nil {
		if err := c.put(ctx, o.run.invoice(o.line.invoice), o.whole); err != nil {
			return err
		}
	}
	if o.next {
		if err := c.set(ctx, o.lastInvoice(o.customer), []byte(o.line.invoice)); err != nil {
			return err
		}
	}
	at := o.run.quantity(o.customer, o.stock)
	if err := c.count(ctx, at, o.line.quantity); err != nil {
		return err
	}
	// The answer of an increment is what one coordinator saw. What decides over
	// the cart is a read at quorum, which no replica that lags can mislead.
	total, err := c.total(ctx, at)
	if err != nil {
		return err
	}
	if total > 0 {
		return c.add(ctx, o.cart(o.customer), o.stock)
	}
	return c.remove(ctx, o.cart(o.customer), o.stock)
}

// newBaskets makes a queue of each basket: they have nothing to do with each other.
func newBaskets(r run, baskets []basket) job {
	j := job{want: foldBaskets(r, baskets)}
	items := 0
	for _, b := range baskets {
		items += len(b.items)
		at := r.basket(b.number)
		fill := func(ctx context.Context, c *client) error { return c.add(ctx, at, b.items...) }
		j.queues = append(j.queues, queue{name: at.key, steps: []step{fill}})
	}
	j.about = fmt.Sprintf("%d baskets of %d items", len(baskets), items)
	return j
}
