package quorum

import (
	"fmt"
	"iter"
	"strings"
)

// spare is how many fallbacks can be asked later without growing the slice.
const spare = 2

type entry[ID comparable] struct {
	id   ID
	mark Mark
}

// roster is the list of everyone heard of in one operation, in the order of asking.
type roster[ID comparable] []entry[ID]

func (r roster[ID]) restart(asked []ID) roster[ID] {
	if cap(r) < len(asked) {
		r = make(roster[ID], 0, len(asked)+spare)
	}
	r = r[:0]
	for _, id := range asked {
		r.ask(id)
	}
	return r
}

func (r roster[ID]) find(id ID) *entry[ID] {
	for i := range r {
		if r[i].id == id {
			return &r[i]
		}
	}
	return nil
}

// ask makes id outstanding. Asking a failed node again is a retry and makes it
// outstanding again; asking one that is outstanding or has answered is nothing.
func (r *roster[ID]) ask(id ID) {
	switch e := r.find(id); {
	case e == nil:
		*r = append(*r, entry[ID]{id: id})
	case e.mark == Failed:
		e.mark = Outstanding
	}
}

// heard records what id said, whether or not it was asked or given up before:
// what it says is true all the same. Counted is never lowered.
func (r *roster[ID]) heard(id ID, m Mark) {
	switch e := r.find(id); {
	case e == nil:
		*r = append(*r, entry[ID]{id, m})
	case e.mark != Counted:
		e.mark = m
	}
}

// fail gives up on an outstanding id. An answer already given stays; a node
// never asked owes nothing, so nothing is lost with it.
func (r roster[ID]) fail(id ID) {
	if e := r.find(id); e != nil && e.mark == Outstanding {
		e.mark = Failed
	}
}

func (r roster[ID]) expire() {
	for i := range r {
		if r[i].mark == Outstanding {
			r[i].mark = Failed
		}
	}
}

func (r roster[ID]) count(m Mark) int {
	n := 0
	for i := range r {
		if r[i].mark == m {
			n++
		}
	}
	return n
}

func (r roster[ID]) all() iter.Seq2[ID, Mark] {
	return func(yield func(ID, Mark) bool) {
		for _, e := range r {
			if !yield(e.id, e.mark) {
				return
			}
		}
	}
}

func (r roster[ID]) draw(b *strings.Builder) {
	for i, e := range r {
		if i == 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(b, " %v%v", e.id, e.mark)
	}
}
