package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := retail(ctx, os.Stdout, os.Stderr, os.Args[1:], os.Getenv)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "retail:", err)
		os.Exit(1)
	}
}

// retail is main with its surroundings passed in: out gets the figures, screen the
// progress bar.
func retail(ctx context.Context, out, screen io.Writer, args []string, getenv func(string) string) error {
	flags := flag.NewFlagSet("retail", flag.ContinueOnError)
	flags.SetOutput(screen)
	endpoints := flags.String("endpoints", "127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403", "API addresses of all nodes")
	source := flags.String("source", "retail", "form of the file: retail or groceries")
	path := flags.String("file", "", "file to replay (default: $RETAIL or $GROCERIES, by source, and else the built-in sample)")
	clients := flags.Int("clients", 16, "clients, each with its own connections")
	lanes := flags.Int("lanes", 8, "customers that one client serves at once")
	name := flags.String("run", time.Now().UTC().Format("20060102-150405.000"), "name of this run, part of its buckets")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *clients < 1 || *lanes < 1 {
		return fmt.Errorf("clients %d, lanes %d, arguments %q: want at least 1, at least 1, none", *clients, *lanes, flags.Args())
	}
	j, err := loadJob(*source, cmp.Or(*path, getenv(map[string]string{"retail": "RETAIL", "groceries": "GROCERIES"}[*source])), run(*name))
	if err != nil {
		return err
	}
	r := &replay{endpoints: strings.Split(*endpoints, ","), clients: *clients, lanes: *lanes}
	fmt.Fprintf(out, "%s: %s\n", j.name, j.about)
	return r.prove(ctx, out, screen, j)
}

// prove replays the job, reads everything back through each node and tells how it
// went. Any difference is an error.
func (r *replay) prove(ctx context.Context, out, screen io.Writer, j job) error {
	bar := newBar(screen, j.steps(), "replay")
	conduct := r.progress
	r.progress = func(done int) {
		_ = bar.Add(1)
		if conduct != nil {
			conduct(done)
		}
	}
	sent, err := r.send(ctx, j)
	_ = bar.Exit()
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	fmt.Fprintf(out, "replay  %s\n        %d clients, %d customers at a time each; %s\n", sent, r.clients, r.lanes, r.mix())

	settled, err := r.settle(ctx, j.want)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "settle  %s\n", settled)

	bar = newBar(screen, len(j.want)*len(r.endpoints), "read  ")
	differences, read, err := compareEach(ctx, r.endpoints, j.want, r.clients*r.lanes, func() { _ = bar.Add(1) })
	_ = bar.Exit()
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	fmt.Fprintf(out, "read    %s\n        %d values through each of %d nodes\n", read, len(j.want), len(r.endpoints))
	const most = 20
	for _, d := range differences[:min(most, len(differences))] {
		fmt.Fprintf(out, "        %s\n", d)
	}
	fmt.Fprintf(out, "%d differences\n", len(differences))
	if len(differences) > 0 {
		return fmt.Errorf("%d of %d values differ from %s", len(differences), read.operations, j.name)
	}
	return nil
}

// mix says what the operations were.
func (r *replay) mix() string {
	var parts []string
	for name, count := range r.kinds {
		parts = append(parts, fmt.Sprintf("%s %d", name, count))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func newBar(screen io.Writer, steps int, title string) *progressbar.ProgressBar {
	return progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(screen),
		progressbar.OptionSetDescription(title),
		progressbar.OptionSetWidth(40),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	)
}
