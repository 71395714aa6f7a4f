package replicatest

// A treap is an ordered map that is never changed in place: put, delete and cut
// return a new one that shares all but a path with the old. A snapshot of a
// store is then a copied pointer, and a transaction that is abandoned leaves
// nothing to undo (Seidel and Aragon 1996; Blelloch and Reid-Miller 1998 for
// split and join).
//
// Priorities are a hash of the key, so a treap's shape depends on its contents
// alone and a run repeats bit for bit.
type treap struct {
	key         string
	value       []byte
	priority    uint64
	left, right *treap
}

// priority is FNV-1a, its bits mixed once more because similar keys must not
// get similar priorities.
func priority(key string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

func (t *treap) get(key string) ([]byte, bool) {
	for t != nil && t.key != key {
		if key < t.key {
			t = t.left
		} else {
			t = t.right
		}
	}
	if t == nil {
		return nil, false
	}
	return t.value, true
}

func (t *treap) put(key string, value []byte) *treap {
	return t.putNode(&treap{key: key, value: value, priority: priority(key)})
}

func (t *treap) putNode(n *treap) *treap {
	if t == nil || n.priority > t.priority { // equal keys have equal priorities: n is not below t
		n.left, n.right = t.split(n.key)
		return n
	}
	path := *t
	switch {
	case n.key == t.key:
		path.value = n.value
	case n.key < t.key:
		path.left = t.left.putNode(n)
	default:
		path.right = t.right.putNode(n)
	}
	return &path
}

func (t *treap) delete(key string) *treap {
	if t == nil {
		return nil
	}
	path := *t
	switch {
	case key == t.key:
		return join(t.left, t.right)
	case key < t.key:
		path.left = t.left.delete(key)
	default:
		path.right = t.right.delete(key)
	}
	return &path
}

// cut removes the keys from <= key < until.
func (t *treap) cut(from, until string) *treap {
	left, rest := t.split(from)
	_, right := rest.split(until)
	return join(left, right)
}

// split returns the keys below key and the others.
func (t *treap) split(key string) (below, others *treap) {
	if t == nil {
		return nil, nil
	}
	path := *t
	if t.key < key {
		path.right, others = t.right.split(key)
		return &path, others
	}
	below, path.left = t.left.split(key)
	return below, &path
}

// join merges two treaps of which all keys of a are below those of b.
func join(a, b *treap) *treap {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority >= b.priority:
		path := *a
		path.right = join(a.right, b)
		return &path
	default:
		path := *b
		path.left = join(a, b.left)
		return &path
	}
}

// ascend calls fn for each key that is at least from, in order, until fn returns
// false.
func (t *treap) ascend(from string, fn func(key string, value []byte) bool) bool {
	if t == nil {
		return true
	}
	if from < t.key && !t.left.ascend(from, fn) {
		return false
	}
	if from <= t.key && !fn(t.key, t.value) {
		return false
	}
	return t.right.ascend(from, fn)
}
