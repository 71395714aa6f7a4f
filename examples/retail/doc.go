// Command retail is the main job of a store like this one, on real input: it
// replays the orders of a web shop against a cluster and then asks every node
// whether it agrees with the file.
//
//	file ──parse──▶ lines ──┬─ queues by customer ─▶ 16 clients ─▶ n1 n2 n3
//	                        │                                       │  │  │
//	                        └─ fold in memory ──▶ compare ◀─────────┴──┴──┘
//
// What a line of an order means:
//
//	set       carts          customer         what is in the cart, by stock code
//	counter   quantities     customer/stock   how many of it; negative quantities take away
//	register  last-invoices  customer         the last invoice
//	blob      invoices       invoice          the raw lines of the invoice
//
// A line that brings a quantity to zero or below takes the stock code out of the
// cart. Lines without a customer go to one cart that all guests share. The second
// source, market baskets, is simpler: every basket is a set of its items.
//
// Nothing here is tuned to be easy for the store: each line asks the counter for
// its value before it touches the cart, whichever node answers, and a node may be
// killed on the way. The expectation is a plain loop over the file (fold.go) that
// knows nothing of replicas, and a single value that differs at a single node is a
// failure.
//
// The data sets this was made for are the UCI "Online Retail" data (D. Chen, 2015)
// and the "Groceries" baskets of the arules package (Hahsler, Hornik, Reutterer,
// 2006). Small samples in the same form, of our own making, are built in.
package main
