package server

import (
	"reflect"

	"github.com/cartwheel-db/cartwheel/replica"
)

// shardCounts is every count of [replica.Stats] under the name it has at
// /metrics, with the help text that goes with it.
var shardCounts = []struct{ field, name, help string }{
	{"Commits", "commits", "group commits"},
	{"CommitGroups", "commit_groups", "groups of events over all commits"},
	{"Minted", "groups_minted", "groups of events minted here"},
	{"Shipped", "groups_sent", "groups of events sent to other nodes"},
	{"Applied", "groups_applied", "groups of events applied here"},
	{"Known", "groups_known", "groups that were received again"},
	{"CaughtUp", "groups_caught_up", "groups received by exchange or handoff"},
	{"Held", "groups_held", "groups kept back while a snapshot was on its way in"},
	{"Released", "groups_released", "groups applied after they were kept back"},
	{"Trimmed", "groups_trimmed", "groups that left a log because every owner has them"},
	{"TrimmedEarly", "alarm_groups_trimmed_early", "ALARM: groups that left a log because it had grown over its cap; who lacks them will need a snapshot"},
	{"Deferred", "dots_deferred", "dots killed before they arrived"},
	{"DeferredKeys", "clears_deferred", "clears that reached dots not seen yet"},
	{"Stillborn", "payloads_stillborn", "payloads dead on arrival"},
	{"Coordinated", "mutations_coordinated", "mutations this node coordinated"},
	{"Forwards", "mutations_forwarded", "mutations handed to another coordinator"},
	{"Retries", "mutations_recognised", "retries answered from memory"},
	{"Nothing", "mutations_without_effect", "mutations that had nothing to change"},
	{"Voids", "increments_voided", "increments that two coordinators applied, taken back once"},
	{"Early", "increments_early", "increments that came before the one they follow, and were left to catch-up"},
	{"Concurrent", "register_concurrent", "register writes that stand beside a concurrent one; one of them is not shown"},
	{"Forgotten", "operations_forgotten", "operation ids that nobody can retry any more"},
	{"MayRepeat", "alarm_operations_forgotten_early", "ALARM: operation ids forgotten because there were too many, or whose retry a node that left brought back; one may count twice"},
	{"ReadsMerged", "reads", "merged reads"},
	{"Degraded", "reads_degraded", "reads answered by fewer than R ready owners"},
	{"Hedges", "reads_hedged", "replicas asked because others were slow"},
	{"HashFirst", "reads_hash_first", "reads that sent a hash of large rows along"},
	{"SameRows", "answers_same_rows", "answers without rows, because they hash to what was sent along"},
	{"TooStale", "reads_too_stale", "reads refused because no replica was fresh enough"},
	{"SessionUnmet", "reads_session_unmet", "reads refused because no state covered their session"},
	{"Expired", "rows_expired", "rows of which something was removed because its time was over"},
	{"ExpiryWaits", "expiry_waits", "times that a partition was looked at where something expired and R owners do not agree yet"},
	{"Summarized", "sets_summed_up", "large sets whose members were counted, from then on in step with every write"},
	{"SizesTold", "set_sizes_told", "sizes of sets told without reading members"},
	{"SizesApart", "set_sizes_apart", "times that replicas asked for a size had different rows or did not know; after some tries in a row all pages are read"},
	{"Nudges", "nudges", "replicas that a read found behind"},
	{"Exchanges", "exchanges", "clocks found different"},
	{"Fallbacks", "fallbacks", "groups sent to a fallback"},
	{"HandedOff", "handed_off", "partitions dropped after handoff"},
	{"BecameReady", "partitions_became_ready", "partitions that caught up, and count toward R"},
	{"ForcedReady", "partitions_forced_ready", "partitions that an operator let count toward R"},

	{"Compared", "trees_compared", "trees compared with those of other owners"},
	{"TreesEqual", "trees_equal", "of those: equal"},
	{"TreesApart", "trees_apart", "of those: not comparable, because the clocks differed"},
	{"Diverged", "alarm_trees_diverged", "ALARM: different trees under equal clocks"},
	{"Walks", "tree_walks", "walks down a tree, to the leaves that differ"},
	{"WalksRestarted", "tree_walks_restarted", "of those: given up because a clock moved or a message was lost"},
	{"RowsRepaired", "tree_rows_repaired", "rows that took in what another owner had under an equal clock"},
	{"TreeInstalls", "tree_snapshots", "snapshots asked for because clocks stayed apart"},
	{"TreesLoaded", "trees_loaded", "trees taken over from the last clean close"},
	{"TreesRebuilt", "trees_rebuilt", "trees summed up from all rows"},
	{"TreesSaved", "trees_saved", "trees put into the store"},
	{"Miscounted", "alarm_trees_miscounted", "ALARM: trees that were not the sum of their rows"},

	{"CutsTaken", "cuts_taken", "cuts that snapshots were sent from"},
	{"CutsRefused", "cuts_refused", "cuts refused because too many were open"},
	{"CutsDropped", "cuts_dropped", "cuts dropped: idle, unreadable, or in the way of a commit"},
	{"PagesSent", "snapshot_pages_sent", "pages of snapshots sent"},
	{"BytesSent", "snapshot_bytes_sent", "bytes of those pages, about"},
	{"InstallsStarted", "snapshots_started", "snapshots asked for"},
	{"InstallsNeeded", "snapshots_needed", "of those: with more to bring than the log"},
	{"InstallsGivenUp", "snapshots_given_up", "of those: given up"},
	{"Resumed", "snapshots_resumed", "pages that came when asked for again, and promotions that went on after a restart"},
	{"RowsStaged", "snapshot_rows_staged", "rows of snapshots put aside until all are there"},
	{"StagesLost", "alarm_stages_lost", "ALARM: promotions whose stage was damaged; the partition began anew"},
	{"Promoted", "snapshots_promoted", "snapshots taken over whole"},
	{"Pieces", "snapshot_pieces", "pieces of snapshots that took more than one commit"},
	{"Aborted", "snapshots_aborted", "snapshots whose stage was discarded"},
	{"Unheld", "groups_unheld", "groups dropped because too many were held; they come again"},

	{"DamagedRows", "alarm_rows_damaged", "ALARM: rows that failed their checksum"},
	{"RepairedRows", "rows_repaired", "damaged rows that are whole again"},
	{"DamagedLog", "alarm_groups_damaged", "ALARM: groups that the log cannot give any more"},
	{"DroppedLog", "damaged_groups_dropped", "of those: out of the log, because every owner holds them"},
	{"DamagedOperations", "alarm_operations_damaged", "ALARM: remembered operation ids that cannot be read; a retry of one may count twice"},
	{"DamagedOthers", "alarm_records_damaged", "ALARM: other records that failed their checksum"},
	{"WipedPartitions", "alarm_partitions_wiped", "ALARM: partitions begun anew, because their clock was damaged"},
	{"Unrepairable", "alarm_unrepairable", "ALARM: times that a damaged record was asked for in vain from every owner"},

	{"Refused", "refused", "requests and deliveries refused because a queue was full"},
	{"Collisions", "alarm_collisions", "ALARM: one dot with different bytes"},
	{"Rotations", "alarm_rotations", "ALARM: foreign events bore this node's actor"},
	{"SkewAlarms", "alarm_skew", "ALARM: stamps further ahead than the maximum skew"},
	{"Malformed", "alarm_malformed", "ALARM: messages that no honest peer sends"},
	{"StoresLost", "alarm_stores_lost", "ALARM: partitions of which this node had shown others more than it holds: a restored or lost store"},
}

// shardMetrics finds each count in replica.Stats once, so that a scrape only
// follows an index.
func shardMetrics() []metric {
	stats := reflect.TypeFor[replica.Stats]()
	var all []metric
	for _, c := range shardCounts {
		if field, found := stats.FieldByName(c.field); found {
			all = append(all, count(c.name, c.help, func(r *reading) uint64 { return r.totals.FieldByIndex(field.Index).Uint() }))
		}
	}
	return all
}
