package store

import (
	"os"
	"syscall"
)

// The map is replaced by a bigger one when the file outgrows it, and that waits
// for all open views and holds up commits: a view may be held for minutes. So the
// map begins far bigger than files get. It costs addresses only, no memory and no
// page tables, until pages of the file are read.
const (
	wantedMap = 1 << 36 // 64 GiB, where pointers have 64 bits,
	mostMap   = 1 << 42 // and of files that are larger twice that and more
	leastMap  = 1 << 26
	headroom  = 4 // a map is used if one so many times larger would fit too
)

// mapSize returns the size to ask for: more than the file has, and of what this
// process may still map a fourth at most, for an address space can be limited.
func mapSize(f *os.File) int {
	size := int64(wantedMap)
	if ^uint(0)>>32 == 0 {
		size = leastMap
	} else if info, err := f.Stat(); err == nil {
		for size < 2*info.Size() && size < mostMap {
			size *= 2
		}
	}
	for ; size > leastMap; size /= 2 {
		b, err := syscall.Mmap(int(f.Fd()), 0, int(headroom*size), syscall.PROT_READ, syscall.MAP_SHARED)
		if err == nil {
			_ = syscall.Munmap(b)
			break
		}
	}
	return int(size)
}
