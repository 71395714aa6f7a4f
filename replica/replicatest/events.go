package replicatest

// heap is a queue of events by time, then by order of scheduling.
type heap struct {
	all []event
	seq uint64
}

type event struct {
	at  int64
	seq uint64
	fn  func()
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

func (h *heap) push(at int64, fn func()) {
	h.seq++
	h.all = append(h.all, event{at, h.seq, fn})
	for i := len(h.all) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.all[i].before(h.all[up]) {
			break
		}
		h.all[i], h.all[up] = h.all[up], h.all[i]
		i = up
	}
}

func (h *heap) pop() event {
	top := h.all[0]
	last := len(h.all) - 1
	h.all[0] = h.all[last]
	h.all[last] = event{}
	h.all = h.all[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if h.all[child].before(h.all[least]) {
				least = child
			}
		}
		if least == i {
			return top
		}
		h.all[i], h.all[least] = h.all[least], h.all[i]
		i = least
	}
}
