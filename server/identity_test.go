package server

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/cartwheel-db/cartwheel/ring"
)

func TestAClusterFileIsReadAsItWasWrittenAndNeverOverwritten(t *testing.T) {
	c, err := NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := WriteCluster(path, c); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadCluster(path); err != nil || !reflect.DeepEqual(got, c) {
		t.Fatalf("read %v, %v; wrote %v", got, err, c)
	}
	if err := WriteCluster(path, c); !errors.Is(err, os.ErrExist) {
		t.Errorf("writing over a cluster file: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: others may read the secret", info.Mode(), err)
	}
	if text := c.Secret.String(); strings.Contains(text, string(c.Secret)) {
		t.Errorf("%q shows the secret", text)
	}
}

func TestAClusterFileThatCannotBeIsRefusedWithItsNumbers(t *testing.T) {
	const good = "cluster: c\npartitions: 256\nreplicas: 3\nread: 2\nwrite: 2\nsecret: MDEyMzQ1Njc4OWFiY2RlZg==\n"
	for name, tc := range map[string]struct{ old, new, want string }{
		"an unknown key":               {"read: 2\n", "read: 2\nraed: 3\n", "field raed not found"},
		"no id":                        {"cluster: c\n", "", "id of 1 to 64 bytes"},
		"partitions, no power of two":  {"256", "100", "100"},
		"more reads than replicas":     {"read: 2", "read: 4", "read: 4, must be 1 to 3"},
		"writes of nobody":             {"write: 2", "write: 0", "write: 0, must be 1 to 3"},
		"a secret that can be guessed": {"MDEyMzQ1Njc4OWFiY2RlZg==", "MDEy", "3 bytes, at least 16"},
		"a secret that is not base64":  {"MDEyMzQ1Njc4OWFiY2RlZg==", "?", "secret"},
		"an empty file":                {good, "", "empty"},
		"too many replicas":            {"replicas: 3", "replicas: 9", "replicas: 9, must be 1 to 7"},
		"replicas nobody holds":        {"replicas: 3", "replicas: 0", "replicas: 0, must be 1 to 7"},
		"no partitions":                {"256", "0", "partitions: 0"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cluster.yaml")
			if err := os.WriteFile(path, []byte(strings.Replace(good, tc.old, tc.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := ReadCluster(path)
			var bad *ClusterFileError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q and the path", err, tc.want)
			}
		})
	}
}

func TestADataDirectoryKeepsWhoLivesInIt(t *testing.T) {
	c, err := NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	first, fresh, err := openIdentity(dir, c)
	if err != nil || !fresh {
		t.Fatalf("moving in: %v, fresh %t", err, fresh)
	}
	again, fresh, err := openIdentity(dir, c)
	if err != nil || fresh || again != first {
		t.Fatalf("coming back: %+v fresh %t, %v; was %+v", again, fresh, err, first)
	}
	wide := c
	wide.Partitions = 64
	var wrong *IdentityError
	if _, _, err := openIdentity(dir, wide); !errors.As(err, &wrong) || wrong.Found != "256" || wrong.Want != "64" {
		t.Errorf("another Q: %v", err)
	}
	fewer := c
	fewer.Replicas = 2
	if _, _, err := openIdentity(dir, fewer); !errors.As(err, &wrong) || wrong.Found != "3" || wrong.Want != "2" {
		t.Errorf("another N: %v", err)
	}
	path := filepath.Join(dir, "node")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openIdentity(dir, c); err == nil || !strings.Contains(err.Error(), "wrong checksum") {
		t.Errorf("a flipped bit: %v", err)
	}
}

func TestStoresWithoutAnOwnerAreNotTakenOver(t *testing.T) {
	c, err := NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "shard-0.db"), []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openIdentity(dir, c); err == nil || !strings.Contains(err.Error(), "holds 1 stores but no file that says whose") {
		t.Errorf("got %v", err)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(identity{Node: "n1", Cluster: "c", Partitions: 256, Replicas: 3, Shards: 1}.append(nil))
	var facts ring.Facts
	if _, err := facts.Add(ring.Fact{Number: 1, Kind: ring.Joined, Node: "n1", PeerAddr: "a:1", APIAddr: "a:2", Weight: 1}); err != nil {
		f.Fatal(err)
	}
	b, err := known{facts, []string{"127.0.0.1:7461"}}.append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("\x92\xc6\xff\xff\xff\xff"))
	f.Add([]byte("\x92\xc4\x00\xdd\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		id, err := readIdentity(b)
		if err == nil && string(id.append(nil)) != string(b) {
			t.Errorf("identity %+v is written otherwise than it was read", id)
		}
		k, err := readKnown(b)
		runtime.ReadMemStats(&after)
		if err == nil {
			if back, err := k.append(nil); err != nil || string(back) != string(b) {
				t.Errorf("known %+v is written otherwise than it was read: %v", k, err)
			}
		}
		if grown := after.TotalAlloc - before.TotalAlloc; len(b) <= 1<<10 && grown > 1<<20 {
			t.Errorf("%d bytes made it allocate %d", len(b), grown)
		}
	})
}
