package server

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"gopkg.in/yaml.v3"

	"github.com/cartwheel-db/cartwheel/ring"
)

// Cluster is what all nodes of a cluster must agree on: the content of the
// cluster file that `cartwheel init` writes. Partitions and replicas are fixed
// for life; the secret authenticates peers, gossip and context tokens.
type Cluster struct {
	ID         string `yaml:"cluster"`
	Partitions int    `yaml:"partitions"`
	Replicas   int    `yaml:"replicas"`
	Read       int    `yaml:"read"`
	Write      int    `yaml:"write"`
	Secret     Secret `yaml:"secret"`
}

// Secret is key material that does not print.
type Secret []byte

// MarshalYAML writes the secret as base64.
func (s Secret) MarshalYAML() (any, error) { return base64.StdEncoding.EncodeToString(s), nil }

// UnmarshalYAML reads base64.
func (s *Secret) UnmarshalYAML(n *yaml.Node) error {
	b, err := base64.StdEncoding.DecodeString(n.Value)
	if err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	*s = b
	return nil
}

func (s Secret) String() string { return fmt.Sprintf("secret of %d bytes", len(s)) }

// GoString keeps %#v from showing the bytes.
func (s Secret) GoString() string { return s.String() }

const (
	secretBytes    = 32
	maxClusterFile = 64 << 10
)

// NewCluster draws the identity of a new cluster: 256 partitions, 3 replicas,
// reads and writes of 2.
func NewCluster() (Cluster, error) {
	secret := make([]byte, secretBytes)
	if _, err := rand.Read(secret); err != nil {
		return Cluster{}, fmt.Errorf("draw the cluster's secret: %w", err)
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return Cluster{}, fmt.Errorf("draw the cluster's id: %w", err)
	}
	return Cluster{ID: id.String(), Partitions: 256, Replicas: 3, Read: 2, Write: 2, Secret: secret}, nil
}

// Ring returns the part of the cluster file that shapes the ring.
func (c Cluster) Ring() ring.Config {
	return ring.Config{Partitions: c.Partitions, Replicas: c.Replicas}
}

// Check refuses values that no cluster can have.
func (c Cluster) Check() error {
	if c.ID == "" || len(c.ID) > 64 {
		return fmt.Errorf("cluster: an id of 1 to 64 bytes is needed, got %d", len(c.ID))
	}
	if c.Partitions == 0 {
		return errors.New("partitions: 0, must be a power of two") // the ring takes 0 for its default
	}
	if c.Replicas < 1 || c.Replicas > 7 {
		return fmt.Errorf("replicas: %d, must be 1 to 7", c.Replicas)
	}
	if err := c.Ring().Check(); err != nil {
		return err
	}
	if c.Read < 1 || c.Read > c.Replicas {
		return fmt.Errorf("read: %d, must be 1 to %d (replicas)", c.Read, c.Replicas)
	}
	if c.Write < 1 || c.Write > c.Replicas {
		return fmt.Errorf("write: %d, must be 1 to %d (replicas)", c.Write, c.Replicas)
	}
	if len(c.Secret) < 16 {
		return fmt.Errorf("secret: %d bytes, at least 16", len(c.Secret))
	}
	return nil
}

// ClusterFileError reports a cluster file that cannot be used.
type ClusterFileError struct {
	Path string
	Err  error
}

func (e *ClusterFileError) Error() string {
	why := e.Err.Error()
	var file *fs.PathError
	switch {
	case errors.Is(e.Err, fs.ErrNotExist):
		why = "there is none; cartwheel init writes one"
	case errors.Is(e.Err, fs.ErrExist):
		why = "there is one already, and it is not overwritten: it may hold the only copy of the secret"
	case errors.As(e.Err, &file):
		why = file.Err.Error()
	}
	return fmt.Sprintf("cluster file %s: %s", e.Path, why)
}

func (e *ClusterFileError) Unwrap() error { return e.Err }

// ReadCluster reads and checks a cluster file. Unknown keys are refused: a
// misspelt one would otherwise silently keep its default.
func ReadCluster(path string) (Cluster, error) {
	fail := func(err error) (Cluster, error) { return Cluster{}, &ClusterFileError{path, err} }
	f, err := os.Open(path)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxClusterFile+1))
	if err != nil {
		return fail(err)
	}
	if len(b) > maxClusterFile {
		return fail(fmt.Errorf("more than %d bytes", maxClusterFile))
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	var c Cluster
	if err := d.Decode(&c); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("empty")
		}
		return fail(err)
	}
	if err := c.Check(); err != nil {
		return fail(err)
	}
	return c, nil
}

// WriteCluster writes a new cluster file, readable by its owner only. An
// existing file is never overwritten: it may hold the only copy of a secret.
func WriteCluster(path string, c Cluster) error {
	if err := c.Check(); err != nil {
		return &ClusterFileError{path, err}
	}
	body, err := yaml.Marshal(c)
	if err != nil {
		return &ClusterFileError{path, err}
	}
	head := fmt.Sprintf("# A Cartwheel cluster, made %s. Give every node this file, and nobody else.\n# Cluster, partitions, replicas and secret must be the same on all nodes, for life.\n",
		time.Now().UTC().Format(time.RFC3339))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return &ClusterFileError{path, err}
	}
	_, err = f.Write(append([]byte(head), body...))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return &ClusterFileError{path, err}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
