//go:build linux

// Command modalsuite runs the test-suites of Modal's own Go clients against
// `seer local serve`, with real sandboxes:
//
//	go run ./scripts/modalsuite
//
// It does all of it by itself: the clients come from the module proxy into
// temporary modules, the images that they ask for are put together from Debian
// packages and pulled from a registry on loopback. It needs Linux, apt-get and
// dpkg-deb. What cannot pass is in skip/, a reason each.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.suite, "suite", "", "run one `suite` alone, by the client's name")
	flag.StringVar(&o.run, "run", "", "run only the tests that match `regexp`")
	flag.BoolVar(&o.all, "all", false, "run what the skip lists name, too")
	flag.BoolVar(&o.verbose, "v", false, "print the server's log")
	flag.Parse()
	if err := run(ctx, os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "modalsuite:", err)
		os.Exit(1)
	}
}

type options struct {
	suite, run   string
	all, verbose bool
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	chosen, err := choose(o.suite)
	if err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	cache = filepath.Join(cache, "seer-go-tests", "modalsuite")
	packages := filepath.Join(cache, "packages")
	if err := os.MkdirAll(packages, 0o755); err != nil {
		return err
	}
	// Not in the temporary directory: a sandbox's layers may not lie on an overlay.
	work, err := os.MkdirTemp(cache, "run-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Remove(work)) }()

	begun := time.Now()
	var reg *imageRegistry
	binary := filepath.Join(work, "seer")
	prepare, preparing := errgroup.WithContext(ctx)
	prepare.Go(func() (err error) {
		reg, err = serveImages(preparing, packages)
		return err
	})
	prepare.Go(func() error {
		return command(preparing, "", nil, "go", "build", "-o", binary, "github.com/ajobi-uhc/seer-go/cmd/seer")
	})
	for _, s := range chosen {
		prepare.Go(func() error { return s.prepare(preparing, filepath.Join(work, s.name)) })
	}
	if err := prepare.Wait(); err != nil {
		return err
	}
	defer reg.close()
	fmt.Fprintf(out, "prepared in %s\n", time.Since(begun).Round(time.Second))

	results := make([]error, len(chosen))
	var running sync.WaitGroup
	for i, s := range chosen {
		running.Go(func() {
			report, err := s.against(ctx, o, binary, filepath.Join(work, s.name), reg.address)
			fmt.Fprint(out, report)
			if err != nil {
				results[i] = fmt.Errorf("%s: %w", s.name, err)
			}
		})
	}
	running.Wait()
	return errors.Join(results...)
}

// against runs a suite against a server of its own and reports in one piece.
func (s *suite) against(ctx context.Context, o options, binary, dir, mirror string) (report string, err error) {
	server, err := startServer(ctx, binary, dir, mirror)
	if err != nil {
		return "", err
	}
	begun := time.Now()
	result, err := s.run(ctx, server.environ, o)
	took := time.Since(begun)
	err = errors.Join(err, server.stop())
	if o.verbose {
		report = server.log.String()
	}
	if err != nil {
		return report, err
	}
	return report + result.describe(s, took), result.err()
}
