package recipes_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	cartwheel "github.com/cartwheel-db/cartwheel/sdk"
	"github.com/cartwheel-db/cartwheel/server/servertest"
)

var ctx = context.Background()

// phone and laptop are clients of one cluster, whose endpoints begin at different nodes.
var phone, laptop *cartwheel.DB

func TestMain(m *testing.M) { os.Exit(withCluster(m.Run)) }

func withCluster(run func() int) int {
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, err := servertest.Start(limit, 3)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer c.Close()
	for i, db := range []**cartwheel.DB{&phone, &laptop} {
		if *db, err = cartwheel.Open(ctx, c.Endpoints()[i:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer (*db).Close()
	}
	return run()
}

// fresh makes a name that no run before this one used.
func fresh(name string) string { return fmt.Sprintf("%s-%x", name, rand.Uint64()) }

// show prints what an example shows, or what went wrong on the way to it.
func show(err error, what ...any) {
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(what...)
}
