//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// bench takes measures and prints a row for each.
type bench struct {
	w       io.Writer
	runs    int
	measure string // the one under way

	closers []func() error
}

// later runs f when all measures are taken, last one first.
func (b *bench) later(f func() error) { b.closers = append(b.closers, f) }

func (b *bench) close() error {
	var errs []error
	for _, f := range slices.Backward(b.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

func (b *bench) head() {
	fmt.Fprintln(b.w, "| | what | seer | rival | | ratio | aim |")
	fmt.Fprintln(b.w, "|---|---|---|---|---|---|---|")
}

func (b *bench) row(what, ours, rival, theirs, ratio, aim string) {
	fmt.Fprintf(b.w, "| %s | %s | %s | %s | %s | %s | %s |\n", b.measure, what, ours, rival, theirs, ratio, aim)
}

// side is one way to do something. It times itself, so that what it has to
// set up and clear away does not count.
type side struct {
	name string
	run  func(context.Context) (time.Duration, error)
}

// timed is a side of which all counts.
func timed(name string, run func(context.Context) error) side {
	return side{name: name, run: func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		err := run(ctx)
		return time.Since(start), err
	}}
}

// race runs the sides in turn and returns the median of each. The first round
// warms up and does not count.
func race(ctx context.Context, rounds int, sides ...side) ([]time.Duration, error) {
	times := make([][]time.Duration, len(sides))
	for round := range rounds + 1 {
		for i, s := range sides {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			took, err := s.run(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			if round > 0 {
				times[i] = append(times[i], took)
			}
		}
	}
	medians := make([]time.Duration, len(sides))
	for i := range sides {
		medians[i] = median(times[i])
	}
	return medians, nil
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

// versus races our side against rivals and prints a row for each of them.
func (b *bench) versus(ctx context.Context, rounds int, what, aim string, ours side, rivals ...side) error {
	medians, err := race(ctx, rounds, append([]side{ours}, rivals...)...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for i, rival := range rivals {
		b.row(what, show(medians[0]), rival.name, show(medians[i+1]), ratio(medians[0], medians[i+1]), aim)
	}
	return nil
}

func show(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}

func ratio[N ~int | ~int64](ours, theirs N) string {
	return fmt.Sprintf("%.2f", float64(ours)/float64(theirs))
}
