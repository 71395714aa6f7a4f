package store

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// residentBytes is what this process holds in memory.
func residentBytes(t *testing.T) (resident, pageTables int64) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			resident = kb << 10
		}
		if n, _ := fmt.Sscanf(line, "VmPTE: %d kB", &kb); n == 1 {
			pageTables = kb << 10
		}
	}
	return resident, pageTables
}

func TestALargeMapCostsNoMemory(t *testing.T) {
	const stores, limit = 16, 32 << 20
	mustOpen(t, sample(t, 10), testOptions())
	resident, tables := residentBytes(t)
	for range stores {
		s := mustOpen(t, sample(t, 10), testOptions())
		if got := mapSize(s.file); int64(got) != wantedMap {
			t.Skipf("the address space is limited: a map of %d bytes", got)
		}
	}
	resident2, tables2 := residentBytes(t)
	t.Logf("%d stores: %d KiB resident, %d KiB of page tables", stores, (resident2-resident)>>10, (tables2-tables)>>10)
	if resident2-resident > limit || tables2-tables > limit/8 {
		t.Errorf("%d stores took %d bytes and %d of page tables", stores, resident2-resident, tables2-tables)
	}
}

// A commit that may outgrow the map waits for all views: the map of a file that was
// opened has room.
func TestTheMapOfALargeFileIsLargerThanTheFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "large"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if int64(mapSize(f)) != wantedMap {
		t.Skip("the address space is limited")
	}
	const size = int64(100) << 30
	if err := f.Truncate(size); err != nil { // takes no space
		t.Skip(err)
	}
	if got := mapSize(f); int64(got) < 2*size {
		t.Errorf("a map of %d bytes for a file of %d", got, size)
	}
}

// In a process that may map little, the map is smaller and the store works.
func TestAStoreOpensWhereTheAddressSpaceIsSmall(t *testing.T) {
	const inside = "CARTWHEEL_SMALL_ADDRESS_SPACE"
	if os.Getenv(inside) == "" {
		c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		c.Env = append(os.Environ(), inside+"=1")
		out, err := c.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) && !strings.Contains(string(out), "--- SKIP: "+t.Name()) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	var pages uint64
	if _, err := fmt.Sscan(string(b), &pages); err != nil {
		t.Fatal(err)
	}
	const more = 8 << 30 // less than one map of the wanted size
	limit := syscall.Rlimit{Cur: pages*uint64(os.Getpagesize()) + more, Max: pages*uint64(os.Getpagesize()) + more}
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &limit); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		s := mustOpen(t, filepath.Join(t.TempDir(), "shard"), testOptions())
		got := mapSize(s.file)
		t.Logf("store %d: next map %d MiB", i, got>>20)
		if int64(got) >= wantedMap {
			t.Errorf("the limit does not show: a map of %d bytes", got)
		}
		update(t, s, func(tx *Tx) error { return tx.PutMark(i, true, false) })
	}
}
