package replica

// mutant names a mistake of one line that can be planted in this package's code,
// to show that the checkers of the simulation find it. Planting needs the build
// tag "mutants"; without it mutated is a constant and costs nothing.
//
// A mistake stands where it would be made:
//
//	if !mutated(ackBeforeSync) { … the right thing … }
type mutant uint8

const (
	none                 mutant = iota
	ackBeforeSync               // a replica acknowledges before its commit is durable
	reuseActor                  // a node mints under the same actor after a restart
	forgetFallback              // a restarted node forgets what it holds for others
	dropBeforeDurable           // a fallback drops its store on the word of a clock in memory
	noHold                      // events of the cut are applied while a snapshot is staged
	leavesBeforeLog             // leaves are compared before the source's log was applied
	sourceRowsOnly              // a promote joins only the rows that the source has
	dropDeferral                // a kill of a dot that was not seen yet is forgotten
	trimTooEarly                // an event leaves the log when one other owner has it
	unsortedTreeBytes           // a row's hash depends on the order its dots came in
	skipBarrier                 // an owner counts toward R as soon as it is open
	countRetryTwice             // a second application of an operation is not voided
	staleFromAnswer             // staleness counts from the answer of a sounding, not from its question
	forgetOperationEarly        // an operation is forgotten when its window closes, whoever may still retry it
	expireRenewed               // what was renewed since it was found expired is removed with the rest of its row
	expireUnagreed              // what expired is removed by an owner that does not know what the others hold
	clearsReachCounters         // the clear of a map's delete kills in the rows of counters, too
	voidFirstIncrement          // of an operation applied twice the first of its increments alone is taken back
	contextNotCovered           // a set of a map is removed under a context by a read that may not know all of it
	retryTakesBackItself        // a reset beside an increment does not say whose it is
	mutants
)

var mutantNames = [mutants]string{
	none: "none", ackBeforeSync: "acknowledge before sync", reuseActor: "reuse an actor", forgetFallback: "fallback forgotten at restart",
	dropBeforeDurable: "fallback dropped before the owner is durable", noHold: "no hold", leavesBeforeLog: "leaves compared before the log",
	sourceRowsOnly: "only the source's rows joined", dropDeferral: "deferral dropped", trimTooEarly: "trim too early",
	unsortedTreeBytes: "unsorted tree bytes", skipBarrier: "barrier skipped", countRetryTwice: "retry counted twice",
	staleFromAnswer: "staleness from the wrong side", forgetOperationEarly: "operation forgotten early",
	expireRenewed: "a renewal expires with the rest", expireUnagreed: "removed before R owners agree",
	clearsReachCounters: "clears reach counters", voidFirstIncrement: "one increment of several voided",
	contextNotCovered: "context not covered", retryTakesBackItself: "a retry takes back itself",
}

func (m mutant) String() string { return mutantNames[m] }
