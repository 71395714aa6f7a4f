package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
)

// This file reads bbolt's pages by itself, before bbolt may: bbolt panics on some
// damaged pages, recurses without end on others, and takes a third kind for an
// empty tree.
//
//	page      id 8, flags 2, count 2, overflow 4, then count elements, then their data
//	branch    element: pos 4, ksize 4, page 8         data: key
//	leaf      element: flags 4, pos 4, ksize 4, vsize 4   data: key, value
//	freelist  page ids of 8; a count of 0xffff says that the first is the count
//	meta      magic 4, version 4, page size 4, flags 4, root page 8, sequence 8,
//	          freelist 8, high-water mark 8, transaction 8, FNV-64a of all that 8
//
// Elements and their data lie without gaps, in order, pos counting from the
// element itself. So a changed count, position or size cannot go unnoticed.
const (
	pageHeader   = 16
	elementSize  = 16
	metaSize     = 64
	bucketHeader = 16
	minPageSize  = 1 << 10
	maxPageSize  = 1 << 20
	maxDepth     = 24 // two keys per page at least: 2^24 leaves

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10
	flagBucket   = 0x01 // of a leaf element

	bboltMagic   = 0xED0CDAED
	bboltVersion = 2
	noFreelist   = 1<<64 - 1 // in place of the freelist's page
)

var native = binary.NativeEndian // bbolt writes its structs as they lie in memory

type inspection struct {
	file     io.ReaderAt
	path     string
	pageSize uint64
	high     uint64 // pages from here on are unused
	used     []bool // pages that the tree, the freelist or the metas take up
	previous []byte // the last key met in the bucket
	damaged  []*DamageError
	records  int
	unlisted bool                              // there is no list of free pages: they are those that nothing leads to
	note     func(b bucket, key, value []byte) // is shown every record
}

// maxReported bounds the list of damaged records; there may be more.
const maxReported = 1000

// inspect checks the whole file and shows every record to note, whole or not. It
// returns the damaged records; damage to pages is an error. Whose file it is comes
// first: what is foreign is not called damaged, whatever else is wrong with it.
func inspect(f io.ReaderAt, path string, size int64, want identity, note func(b bucket, key, value []byte)) (*inspection, error) {
	in := &inspection{file: f, path: path, note: note}
	root, freelist, err := in.metas(uint64(size))
	if err != nil {
		return nil, err
	}
	id, unreadable := in.identity(root, uint64(size))
	if unreadable == nil {
		if err := want.compare(path, id); err != nil {
			return nil, err
		}
	}
	if pages := uint64(size) / in.pageSize; in.high < 4 || pages < in.high {
		return nil, in.refuse("file size", fmt.Sprintf("at least %d pages of %d bytes", in.high, in.pageSize), fmt.Sprintf("%d bytes: truncated", size))
	}
	in.used = make([]bool, in.high)
	in.used[0], in.used[1] = true, true
	if err := in.buckets(root); err != nil {
		return nil, err
	}
	if unreadable != nil {
		return nil, in.refuse("identity", "readable", unreadable)
	}
	if freelist == noFreelist {
		in.unlisted = true
		return in, nil
	}
	if err := in.freelist(freelist); err != nil {
		return nil, err
	}
	for id, used := range in.used {
		if !used { // a link to it was lost, and whole rows with it
			return nil, in.refuse(fmt.Sprintf("page %d", id), "reachable or free", "neither")
		}
	}
	return in, nil
}

func (in *inspection) refuse(what, want string, got any) error {
	return &RefusalError{Path: in.path, What: what, Want: want, Got: fmt.Sprint(got)}
}

func (in *inspection) foreign(what, want string, got any) error {
	return &RefusalError{Path: in.path, What: what, Want: want, Got: fmt.Sprint(got), Foreign: true}
}

// metas checks both meta pages.
// bbolt would go on with one of them; but a write of their 80 bytes is not torn
// by a crash, so a bad one is damage, and the other a state of the past.
func (in *inspection) metas(size uint64) (root, freelist uint64, err error) {
	if size < 2*minPageSize {
		return 0, 0, in.refuse("file size", fmt.Sprintf("at least %d bytes", 2*minPageSize), size)
	}
	var newest uint64
	in.pageSize = 0
	for i := range uint64(2) {
		name := fmt.Sprintf("meta page %d", i)
		b := make([]byte, pageHeader+metaSize)
		if _, err := in.file.ReadAt(b, int64(i*in.pageSize)); err != nil {
			return 0, 0, in.refuse(name, "readable", err)
		}
		m := b[pageHeader:]
		word := func(at int) uint64 { return native.Uint64(m[at:]) }
		h := fnv.New64a()
		_, _ = h.Write(m[:metaSize-8])
		pageSize := uint64(native.Uint32(m[8:]))
		switch {
		case native.Uint32(m) != bboltMagic:
			return 0, 0, in.refuse(name+"'s magic number", fmt.Sprintf("%08x", uint32(bboltMagic)), fmt.Sprintf("%08x: not a store, or damaged", native.Uint32(m)))
		case h.Sum64() != word(metaSize-8):
			return 0, 0, in.refuse(name+"'s checksum", fmt.Sprintf("%016x", word(metaSize-8)), fmt.Sprintf("%016x", h.Sum64()))
		case native.Uint32(m[4:]) != bboltVersion:
			return 0, 0, in.foreign(name+"'s bbolt version", fmt.Sprint(bboltVersion), native.Uint32(m[4:]))
		case native.Uint64(b) != i || native.Uint16(b[8:]) != flagMeta:
			return 0, 0, in.refuse(name+"'s header", fmt.Sprintf("page %d flags %#x", i, flagMeta), fmt.Sprintf("page %d flags %#x", native.Uint64(b), native.Uint16(b[8:])))
		case pageSize < minPageSize || pageSize > maxPageSize || pageSize&(pageSize-1) != 0 || i > 0 && pageSize != in.pageSize:
			return 0, 0, in.refuse(name+"'s page size", "a power of two, the same on both", pageSize)
		}
		in.pageSize = pageSize
		if tx := word(48); i == 0 || tx > newest {
			newest, root, freelist, in.high = tx, word(16), word(32), word(40)
		}
	}
	return root, freelist, nil
}

// identity reads the one record that says whose file it is, on the straight way
// to it: the rest may be damaged.
func (in *inspection) identity(root, size uint64) (id identity, err error) {
	high := min(in.high, size/in.pageSize+1)
	way := &inspection{file: in.file, path: in.path, pageSize: in.pageSize, high: high, used: make([]bool, high)}
	err = errors.New("absent")
	record := func(e element) error {
		if string(e.key) == metaKey {
			var raw []byte
			if raw, err = unseal(meta, e.key, e.value); err == nil {
				id, err = readIdentity(raw)
			}
		}
		return nil
	}
	var header []byte
	broken := way.tree(root, 0, nil, nil, func(e element) error {
		if string(e.key) == meta.String() && e.flags == flagBucket && len(e.value) >= bucketHeader {
			header = bytes.Clone(e.value)
		}
		return nil
	})
	if way.previous = nil; header != nil {
		if page := native.Uint64(header); page != 0 {
			broken = way.tree(page, 0, nil, nil, record)
		} else {
			broken = way.inline(meta.String(), header[bucketHeader:], record)
		}
	}
	if err != nil && broken != nil {
		err = broken
	}
	return id, err
}

// claim reads a page with what it overflows into, which nothing else may use.
func (in *inspection) claim(id uint64) ([]byte, error) {
	name := fmt.Sprintf("page %d", id)
	if id >= in.high {
		return nil, in.refuse(name, fmt.Sprintf("below %d", in.high), "beyond")
	}
	var head [pageHeader]byte
	if _, err := in.file.ReadAt(head[:], int64(id*in.pageSize)); err != nil {
		return nil, in.refuse(name, "readable", err)
	}
	span := 1 + uint64(native.Uint32(head[12:]))
	if self := native.Uint64(head[:]); self != id || span > in.high-id {
		return nil, in.refuse(name+"'s header", fmt.Sprintf("page %d of at most %d pages", id, in.high-id), fmt.Sprintf("page %d of %d pages", self, span))
	}
	for i := id; i < id+span; i++ {
		if in.used[i] {
			return nil, in.refuse(fmt.Sprintf("page %d", i), "used once", "used twice")
		}
		in.used[i] = true
	}
	b := make([]byte, span*in.pageSize)
	if _, err := in.file.ReadAt(b, int64(id*in.pageSize)); err != nil {
		return nil, in.refuse(name, "readable", err)
	}
	return b, nil
}

func (in *inspection) freelist(id uint64) error {
	b, err := in.claim(id)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("freelist page %d", id)
	if flags := native.Uint16(b[8:]); flags != flagFreelist {
		return in.refuse(name+"'s flags", fmt.Sprintf("%#x", flagFreelist), fmt.Sprintf("%#x", flags))
	}
	n, ids := uint64(native.Uint16(b[10:])), b[pageHeader:]
	if n == 0xffff {
		n, ids = native.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids))/8 {
		return in.refuse(name+"'s count", fmt.Sprintf("at most %d", len(ids)/8), n)
	}
	for last := uint64(1); n > 0; n, ids = n-1, ids[8:] {
		free := native.Uint64(ids)
		if free <= last || free >= in.high || in.used[free] {
			return in.refuse(name+"'s next page", fmt.Sprintf("unused, above %d and below %d", last, in.high), free)
		}
		in.used[free] = true
		last = free
	}
	return nil
}

// An element is one entry of a page.
type element struct {
	key, value []byte // value of leaves
	flags      uint32 // of leaves
	page       uint64 // of branches
}

// elements cuts a page into its entries, which must lie without gaps.
func (in *inspection) elements(name string, b []byte) (branch bool, out []element, err error) {
	if len(b) < pageHeader {
		return false, nil, in.refuse(name, fmt.Sprintf("at least %d bytes", pageHeader), len(b))
	}
	flags, n := native.Uint16(b[8:]), int(native.Uint16(b[10:]))
	if branch = flags == flagBranch; !branch && flags != flagLeaf {
		return false, nil, in.refuse(name+"'s flags", "a leaf or a branch", fmt.Sprintf("%#x", flags))
	}
	data := uint64(pageHeader + n*elementSize)
	if data > uint64(len(b)) || branch && n == 0 {
		return false, nil, in.refuse(name+"'s count", fmt.Sprintf("at most %d", (len(b)-pageHeader)/elementSize), n)
	}
	out = make([]element, n)
	for i := range out {
		e := b[pageHeader+i*elementSize:]
		start := data - uint64(pageHeader+i*elementSize)
		var pos, ksize, vsize uint64
		if branch {
			pos, ksize, out[i].page = uint64(native.Uint32(e)), uint64(native.Uint32(e[4:])), native.Uint64(e[8:])
		} else {
			out[i].flags = native.Uint32(e)
			pos, ksize, vsize = uint64(native.Uint32(e[4:])), uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
		}
		if pos != start || ksize+vsize > uint64(len(b))-data {
			return false, nil, in.refuse(fmt.Sprintf("%s's element %d", name, i), fmt.Sprintf("at %d and within the page", start), fmt.Sprintf("at %d with %d bytes", pos, ksize+vsize))
		}
		out[i].key = b[data : data+ksize]
		out[i].value = b[data+ksize : data+ksize+vsize]
		data += ksize + vsize
	}
	return branch, out, nil
}

// tree walks a tree and calls fn for its records. Keys ascend, and lie at or
// above from and below until (nil: no bound), or a search could not find them.
func (in *inspection) tree(id uint64, depth int, from, until []byte, fn func(element) error) error {
	b, err := in.claim(id)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("page %d", id)
	branch, elements, err := in.elements(name, b)
	if err != nil {
		return err
	}
	if !branch {
		return in.leaf(name, elements, from, until, fn)
	}
	if depth == maxDepth {
		return in.refuse(name, fmt.Sprintf("at most %d levels below the root", maxDepth), "deeper")
	}
	for i, e := range elements {
		next := until
		if i+1 < len(elements) {
			next = elements[i+1].key
		}
		if bytes.Compare(e.key, from) < 0 || next != nil && bytes.Compare(e.key, next) >= 0 {
			return in.refuse(fmt.Sprintf("%s's key %d", name, i), "between its neighbours", fmt.Sprintf("%x", e.key))
		}
		if err := in.tree(e.page, depth+1, e.key, next, fn); err != nil {
			return err
		}
	}
	return nil
}

func (in *inspection) leaf(name string, elements []element, from, until []byte, fn func(element) error) error {
	for i, e := range elements {
		low := bytes.Compare(e.key, from) < 0 || in.previous != nil && bytes.Compare(e.key, in.previous) <= 0
		if low || until != nil && bytes.Compare(e.key, until) >= 0 {
			return in.refuse(fmt.Sprintf("%s's key %d", name, i), "between its neighbours", fmt.Sprintf("%x", e.key))
		}
		in.previous = append(in.previous[:0], e.key...)
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// buckets checks that the root holds the buckets of this layout and no other,
// and walks each.
func (in *inspection) buckets(root uint64) error {
	var names []string
	var headers [][]byte
	err := in.tree(root, 0, nil, nil, func(e element) error {
		if e.flags != flagBucket || len(e.value) < bucketHeader {
			return in.refuse(fmt.Sprintf("root entry %q", e.key), "a bucket", fmt.Sprintf("flags %#x with %d bytes", e.flags, len(e.value)))
		}
		names, headers = append(names, string(e.key)), append(headers, bytes.Clone(e.value))
		return nil
	})
	if err != nil {
		return err
	}
	want := sortedNames()
	if len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(want, n) }) {
		return in.foreign("list of buckets", fmt.Sprint(want), fmt.Sprintf("%q", names)) // not one of ours: no damage does that
	}
	if fmt.Sprint(names) != fmt.Sprint(want) {
		return in.refuse("list of buckets", fmt.Sprint(want), fmt.Sprintf("%q", names))
	}
	for i, name := range names {
		in.previous = nil
		b := bucketNamed(name)
		check := func(e element) error { return in.record(b, e) }
		if page := native.Uint64(headers[i]); page != 0 {
			err = in.tree(page, 0, nil, nil, check)
		} else {
			err = in.inline(name, headers[i][bucketHeader:], check)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inline checks a bucket so small that its only leaf lies in the root's value.
func (in *inspection) inline(name string, b []byte, fn func(element) error) error {
	name = "bucket " + name
	branch, elements, err := in.elements(name, b)
	if err == nil && branch {
		err = in.refuse(name, "a leaf", "a branch")
	}
	if err != nil {
		return err
	}
	return in.leaf(name, elements, nil, nil, fn)
}

func (in *inspection) record(b bucket, e element) error {
	if e.flags != 0 {
		return in.refuse(fmt.Sprintf("record %x in %v", e.key, b), "a value", fmt.Sprintf("flags %#x", e.flags))
	}
	in.records++
	if in.note != nil {
		in.note(b, e.key, e.value)
	}
	if _, err := unseal(b, e.key, e.value); err != nil && len(in.damaged) < maxReported {
		var d *DamageError
		if !errors.As(err, &d) {
			return err
		}
		d.Path = in.path
		in.damaged = append(in.damaged, d)
	}
	return nil
}
