//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// results are what benchmarks of a package measured: value by unit by name,
// without the name of the function and the number of processors.
type results map[string]map[string]float64

// goBenchmark runs benchmarks that live with the package they measure.
func goBenchmark(ctx context.Context, pkg, function, count string) (results, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^"+strings.ReplaceAll(function, "/", "$/^")+"$", "-benchtime", count, "-cpu", "2", "-timeout", "20m", pkg)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", pkg, err, out)
	}
	found := results{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		base, _, _ := strings.Cut(function, "/")
		if len(fields) < 4 || !strings.HasPrefix(fields[0], base) {
			continue
		}
		name := strings.TrimPrefix(strings.TrimPrefix(fields[0], base), "/")
		name = strings.TrimSuffix(name, "-2")
		found[name] = map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			if value, err := strconv.ParseFloat(fields[i], 64); err == nil {
				found[name][fields[i+1]] = value
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: no result of %s in:\n%s", pkg, function, out)
	}
	return found, nil
}

func (r results) time(name, unit string) time.Duration {
	scale := map[string]float64{"ns/op": 1, "ns/chunk": 1, "served-ns": 1, "plain-ns": 1}[unit]
	if strings.HasSuffix(unit, "-ms") {
		scale = 1e6
	}
	return time.Duration(r[name][unit] * scale)
}

// billedStart is S2: the age of the sandbox that bills when Start returns.
func billedStart(ctx context.Context, b *bench) error {
	r, err := goBenchmark(ctx, ".", "BenchmarkModelStart", "5x")
	if err != nil {
		return err
	}
	cold, warm, inside := r.time("", "cold-ms"), r.time("", "warm-ms"), r.time("", "inside-ms")
	b.row("age of the sandbox, model to download", show(cold), "model cached", show(warm), ratio(cold, warm), "1")
	b.row("age of the sandbox, model to download", show(cold), "download inside it", show(inside), ratio(cold, inside), "0.05 at 100 s")
	return nil
}

// cells is S5: what a notebook cell costs.
func cells(ctx context.Context, b *bench) error {
	r, err := goBenchmark(ctx, "./internal/jupyter", "BenchmarkExecute", "3x")
	if err != nil {
		return err
	}
	quick, err := goBenchmark(ctx, "./internal/jupyter", "BenchmarkExecute/(raw|cell)", "100x")
	if err != nil {
		return err
	}
	cell, raw := quick.time("cell", "ns/op"), quick.time("raw", "ns/op")
	b.row("a cell", show(cell), "raw kernel messages", show(raw), ratio(cell, raw), "1.1")
	few, many := r.time("1000_chunks", "ns/op"), r.time("10000_chunks", "ns/op")
	b.row("10,000 output chunks", show(many), "ten times 1,000", show(10*few), ratio(many, 10*few), "1")
	return nil
}

// scopedCalls is S6: what a call of a served function costs.
func scopedCalls(ctx context.Context, b *bench) error {
	r, err := goBenchmark(ctx, "./internal/rpc", "BenchmarkCall", "500x")
	if err != nil {
		return err
	}
	turns, err := goBenchmark(ctx, "./internal/rpc", "BenchmarkCallByTurns", "3000x")
	if err != nil {
		return err
	}
	served, plain := turns.time("", "served-ns"), turns.time("", "plain-ns")
	b.row("a call", show(served), "plain HTTP, same function", show(plain), ratio(served, plain), "1.2")
	served = r.time("served/16", "ns/op")
	b.row("per call, 16 at once", show(served), "single-threaded server", show(r.time("single/16", "ns/op")), ratio(served, r.time("single/16", "ns/op")), "0.125")
	return nil
}

// largeFile is S16: one file from a hub that gives each connection 20 MB/s.
func largeFile(ctx context.Context, b *bench) error {
	r, err := goBenchmark(ctx, "./internal/huggingface", "BenchmarkLargeFile", "3x")
	if err != nil {
		return err
	}
	several, one := r.time("connections=several", "ns/op"), r.time("connections=one", "ns/op")
	b.row("400 MB over several connections", show(several), "one connection", show(one), ratio(several, one), "0.2")
	return nil
}
