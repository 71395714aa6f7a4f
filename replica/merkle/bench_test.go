package merkle_test

import (
	"testing"

	"github.com/cartwheel-db/cartwheel/replica/merkle"
)

func BenchmarkApply(b *testing.B) {
	tree := merkle.NewTree(merkle.DefaultLeaves)
	before, after := key.Row([]byte("before")), key.Row([]byte("after"))
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		tree.Apply(i%merkle.DefaultLeaves, before, after)
		i += 37
	}
}

func BenchmarkRow100Bytes(b *testing.B) {
	row := make([]byte, 100)
	b.SetBytes(100)
	b.ReportAllocs()
	for b.Loop() {
		_ = key.Row(row)
	}
}

func BenchmarkRootAfterOneChange(b *testing.B) {
	tree := full()
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		tree.Apply(i%merkle.DefaultLeaves, merkle.Sum{}, merkle.Sum{15: 1})
		_ = tree.Root()
		i += 37
	}
}

func BenchmarkRootFromScratch(b *testing.B) {
	stored, _ := full().AppendBinary(nil)
	b.ReportAllocs()
	for b.Loop() {
		tree, err := merkle.DecodeTree(stored, merkle.DefaultLeaves)
		if err != nil {
			b.Fatal(err)
		}
		_ = tree.Root()
	}
}

func BenchmarkWalkToOneLeaf(b *testing.B) {
	mine, theirs := full(), full()
	theirs.Set(517, merkle.Sum{1})
	b.ReportAllocs()
	for b.Loop() {
		if leaves, _, _ := compare(b, mine, theirs); len(leaves) != 1 {
			b.Fatal(leaves)
		}
	}
}

func full() *merkle.Tree {
	tree := merkle.NewTree(merkle.DefaultLeaves)
	for i := range merkle.DefaultLeaves {
		tree.Set(i, key.Row([]byte{byte(i), byte(i >> 8)}))
	}
	return tree
}
