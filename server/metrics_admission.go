package server

// admissionMetrics tell how many requests of clients are let in, and how many are
// not: the first thing to look at when clients hear of overload.
var admissionMetrics = []metric{
	gauge("requests_inside", "requests of clients that are worked on", func(r *reading) float64 { return float64(r.entered.Inside) }),
	gauge("requests_waiting", "requests of clients that wait for room", func(r *reading) float64 { return float64(r.entered.Waiting) }),
	gauge("requests_limit", "how many may be worked on at a time, as of now", func(r *reading) float64 { return float64(r.entered.Limit) }),
	count("requests_admitted", "requests of clients that were let in", func(r *reading) uint64 { return r.entered.Admitted }),
	count("requests_refused", "requests of clients refused for overload", func(r *reading) uint64 { return r.entered.Refused }),
	count("forwards_expired", "mutations of other nodes whose time was over when their turn came", func(r *reading) uint64 { return r.expired }),
	count("requests_missed", "requests let in that were not done before their deadline", func(r *reading) uint64 { return r.entered.Missed }),
}
