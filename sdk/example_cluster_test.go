package cartwheel_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	"github.com/cartwheel-db/cartwheel/server/servertest"
)

// exampleClusters are what examples ran against: a real node each, empty, which
// takes 20 ms to start. examples/recipes run against three.
var exampleClusters []*servertest.Cluster

func TestMain(m *testing.M) {
	code := m.Run()
	var all sync.WaitGroup
	for _, c := range exampleClusters {
		all.Go(c.Close)
	}
	all.Wait()
	os.Exit(code)
}

// exampleAddresses is where a new cluster listens.
func exampleAddresses() []string {
	limit, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := servertest.Start(limit, 1)
	if err != nil {
		panic(err)
	}
	exampleClusters = append(exampleClusters, c)
	return c.Endpoints()
}

// exampleDB is a client of a new cluster.
func exampleDB() *cartwheel.DB {
	db, err := cartwheel.Open(context.Background(), exampleAddresses())
	if err != nil {
		panic(err)
	}
	return db
}
