package store

// While a view is held, bbolt uses few pages again: neither those that the view
// shows, nor those that were added to the file and replaced meanwhile. Its list of
// them grows with each commit, and is written by each, into pages that it cannot
// use again either. So behind a view that is held for long the list is left out of
// the file. Who opens such a file takes the pages that nothing leads to for free,
// and cannot tell when a link was lost.

// heldLong is how many commits a view may last before the list is left out.
const heldLong = 64

// Held tells how many commits there were since the oldest open view was opened, 0
// when none is open. The file keeps what they wrote until that view is closed.
func (s *Store) Held() (commits uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.commits.Load()
	for _, since := range s.since {
		commits = max(commits, now-since)
	}
	return commits
}
