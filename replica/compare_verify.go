package replica

import (
	"fmt"

	"github.com/cartwheel-db/cartwheel/ring"
)

// Verified is what a verification found of a partition and another owner of it.
type Verified uint8

// The outcomes.
const (
	VerifiedPending     Verified = 1 + iota // not compared yet
	VerifiedEqual                           // equal, perhaps after a repair
	VerifiedBehind                          // this node still lacks what the other has shown
	VerifiedBusy                            // the clocks were never equal when they were looked at: writes go on, or the other is behind
	VerifiedUnlike                          // equal clocks, different rows, and no repair that lasted
	VerifiedUnreachable                     // the other could not be asked
	verifiedEnd
)

var verifiedNames = [verifiedEnd]string{
	VerifiedPending: "pending", VerifiedEqual: "equal", VerifiedBehind: "behind", VerifiedBusy: "busy",
	VerifiedUnlike: "unlike", VerifiedUnreachable: "unreachable",
}

func (o Verified) String() string {
	if o > 0 && o < verifiedEnd {
		return verifiedNames[o]
	}
	return fmt.Sprintf("verified(%d)", uint8(o))
}

// VerifyReport tells how far a verification is. All counts are of pairs: a
// partition that this node owns, and another owner of it.
type VerifyReport struct {
	Started     int64 // [Now.Mono]; 0 when none was asked for since the shard was opened
	Pairs, Done int
	Equal       int
	Behind      int
	Busy        int
	Unlike      int
	Unreachable int
	Differing   int    // found with different rows under equal clocks, repaired since or not
	Repaired    uint64 // rows of this node, since the start
	Findings    []Finding
}

// Finding is a pair that was not simply equal.
type Finding struct {
	Partition int
	Peer      ring.NodeID
	Found     Verified
	Differed  bool // different rows under equal clocks
}

// maxFindings bounds a report; the counts are of all pairs.
const maxFindings = 1000

// Running tells whether some pairs are still to be compared.
func (r *VerifyReport) Running() bool { return r.Done < r.Pairs }

// Verify begins to compare all partitions that this node owns with all their
// other owners now. One under way begins again.
func (s *Shard) Verify(now Now) {
	s.now = now
	s.arrangePairs()
	s.trees.verify = VerifyReport{Started: now.Mono, Repaired: s.Stats.RowsRepaired}
	for _, p := range s.trees.pairs {
		p.finding, p.unlike, p.looks, p.due = VerifiedPending, false, 0, now.Mono
		if s.without(Trees) {
			p.finding = VerifiedBusy
		}
	}
	if !s.without(Trees) {
		s.askRoots()
	}
}

// Verifying tells how far the verification is that [Shard.Verify] began last.
func (s *Shard) Verifying(now Now) VerifyReport {
	s.now = now
	r := s.trees.verify
	if r.Started == 0 {
		return r
	}
	r.Repaired = s.Stats.RowsRepaired - r.Repaired
	for _, p := range s.trees.pairs {
		if p.finding == 0 {
			continue // an owner that came after the start
		}
		r.count(p)
	}
	return r
}

func (r *VerifyReport) count(p *pair) {
	r.Pairs++
	if p.finding != VerifiedPending {
		r.Done++
	}
	if p.unlike {
		r.Differing++
	}
	switch p.finding {
	case VerifiedEqual:
		r.Equal++
	case VerifiedBehind:
		r.Behind++
	case VerifiedBusy:
		r.Busy++
	case VerifiedUnlike:
		r.Unlike++
	case VerifiedUnreachable:
		r.Unreachable++
	}
	if (p.unlike || p.finding > VerifiedEqual) && len(r.Findings) < maxFindings {
		r.Findings = append(r.Findings, Finding{p.partition, p.peer, p.finding, p.unlike})
	}
}

// conclude notes what a verification found of the pair. A later finding of the
// same verification replaces an earlier one: a peer that could not be reached
// may come back.
func (p *pair) conclude(o Verified) {
	if p.finding != 0 {
		p.finding = o
	}
}
