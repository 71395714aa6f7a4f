package peer

import "sync"

// sendQueue holds what waits for one peer, bounded in messages and bytes. What the writer has taken and not yet written
// counts too: the bound is on memory.
type sendQueue struct {
	maxMessages, maxBytes int

	mu       sync.Mutex
	open     bool
	waiting  [][]byte
	messages int
	bytes    int

	wake chan struct{} // one token: something waits
}

func newSendQueue(maxMessages, maxBytes int) *sendQueue {
	return &sendQueue{maxMessages: maxMessages, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// push enqueues m, or says why not with what the queue held.
func (q *sendQueue) push(m []byte) (messages, bytes int, refused error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case !q.open:
		return 0, 0, ErrNoLink
	case q.messages >= q.maxMessages || len(m) > q.maxBytes-q.bytes:
		return q.messages, q.bytes, ErrQueueFull
	}
	q.waiting = append(q.waiting, m)
	q.messages++
	q.bytes += len(m)
	if len(q.waiting) == 1 { // the writer takes all at once: only the first needs to wake it
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return q.messages, q.bytes, nil
}

// take returns all that waits and leaves spare, emptied, to be filled meanwhile.
func (q *sendQueue) take(spare [][]byte) [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.waiting
	q.waiting = spare[:0]
	return taken
}

// written gives back the room of messages that have left.
func (q *sendQueue) written(messages [][]byte) {
	bytes := 0
	for _, m := range messages {
		bytes += len(m)
	}
	q.mu.Lock()
	q.messages -= len(messages)
	q.bytes -= bytes
	q.mu.Unlock()
}

func (q *sendQueue) setOpen() {
	q.mu.Lock()
	q.open = true
	q.mu.Unlock()
}

// close refuses from now on and forgets what was queued or under way; it returns how many messages that were.
func (q *sendQueue) close() (dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	dropped = q.messages
	q.open, q.waiting, q.messages, q.bytes = false, nil, 0, 0
	return dropped
}

func (q *sendQueue) isOpen() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.open
}

func (q *sendQueue) size() (messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.messages, q.bytes
}
