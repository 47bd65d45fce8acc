package huggingface

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	attempts   = 4
	maxWait    = time.Minute // longest pause the hub may ask for before we give up instead
	maxRedirs  = 10
	badHeaders = "Invalid credentials in Authorization header"
)

// answerError is an answer of the hub that is not a success.
type answerError struct {
	kind       error
	page       bool // the model's page helps
	retry      bool
	retryAfter time.Duration
}

func (e *answerError) Error() string { return e.kind.Error() }
func (e *answerError) Unwrap() error { return e.kind }

// do sends a request to the endpoint, again after passing failures, and
// returns body and headers of the first success. The path is escaped already.
func (c *Client) do(ctx context.Context, method, path string) ([]byte, http.Header, error) {
	pause := cmp.Or(c.RetryPause, 500*time.Millisecond)
	for attempt := 1; ; attempt++ {
		body, header, err := c.once(ctx, method, path)
		if err == nil {
			return body, header, nil
		}
		var answer *answerError
		if ctx.Err() != nil || !errors.As(err, &answer) || !answer.retry || attempt == attempts || answer.retryAfter > maxWait {
			return nil, nil, err
		}
		wait := max(pause, answer.retryAfter)
		pause *= 2
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (c *Client) once(ctx context.Context, method, path string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.endpoint()+path, nil)
	if err != nil {
		return nil, nil, withoutURL(err)
	}
	resp, err := c.client(req.URL).Do(req)
	if err != nil {
		return nil, nil, broken(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 && !isDownload(resp) {
		return nil, nil, classify(resp, c.Token != "")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, broken(ctx, err)
	}
	return body, resp.Header, nil
}

// broken is the error for an exchange that the network or ctx ended.
func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &answerError{kind: fmt.Errorf("%w: %w", ErrOffline, withoutURL(err)), retry: true}
}

// isDownload reports whether a HEAD was answered with the way to the content,
// which is all that a HEAD is asked for.
func isDownload(resp *http.Response) bool {
	return resp.Request.Method == http.MethodHead && resp.StatusCode < 400
}

// client is the caller's HTTP client with the token added for one origin only.
// The header is set below the redirect logic, so that no redirect copies it.
func (c *Client) client(origin *url.URL) *http.Client {
	client := *cmp.Or(c.HTTPClient, http.DefaultClient)
	client.Transport = &tokenTransport{next: cmp.Or[http.RoundTripper](client.Transport, http.DefaultTransport), origin: origin, token: c.Token}
	check := client.CheckRedirect
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if check != nil {
			return check(req, via)
		}
		if req.Method == http.MethodHead && req.URL.Host != origin.Host {
			return http.ErrUseLastResponse
		}
		if len(via) >= maxRedirs {
			return errors.New("too many redirects")
		}
		return nil
	}
	return &client
}

type tokenTransport struct {
	next   http.RoundTripper
	origin *url.URL
	token  string
}

func (t *tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.token != "" && req.URL.Host == t.origin.Host && req.URL.Scheme == t.origin.Scheme {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+t.token)
	}
	return t.next.RoundTrip(req)
}

// classify says what an unsuccessful answer means. The hub answers 401 for
// models that do not exist as well as for private ones when no token came.
func classify(resp *http.Response, hasToken bool) error {
	switch resp.Header.Get("X-Error-Code") {
	case "GatedRepo":
		if !hasToken {
			return &answerError{kind: fmt.Errorf("%w: %w", ErrGated, ErrNoToken), page: true}
		}
		return &answerError{kind: ErrGated, page: true}
	case "RevisionNotFound":
		return &answerError{kind: ErrRevisionNotFound, page: true}
	case "EntryNotFound":
		return &answerError{kind: ErrFileNotFound}
	}
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized && resp.Header.Get("X-Error-Message") == badHeaders,
		status == http.StatusUnauthorized && hasToken, status == http.StatusForbidden:
		return &answerError{kind: ErrUnauthorized}
	case status == http.StatusUnauthorized, status == http.StatusNotFound && !hasToken:
		return &answerError{kind: fmt.Errorf("%w, or it is private: %w", ErrNotFound, ErrNoToken)}
	case status == http.StatusNotFound:
		return &answerError{kind: ErrNotFound}
	case status == http.StatusTooManyRequests:
		return &answerError{kind: ErrRateLimited, retry: true, retryAfter: retryAfter(resp.Header)}
	case status >= 500:
		return &answerError{kind: fmt.Errorf("%w: %s", ErrUnavailable, resp.Status), retry: true}
	default:
		return &answerError{kind: fmt.Errorf("%w: %s", ErrInvalidAnswer, resp.Status)}
	}
}

// resetSeconds finds the reset time in a RateLimit header: "resolvers";r=0;t=251
var resetSeconds = regexp.MustCompile(`;\s*t=(\d+)`)

func retryAfter(h http.Header) time.Duration {
	seconds := strings.TrimSpace(h.Get("Retry-After"))
	if seconds == "" {
		if m := resetSeconds.FindStringSubmatch(h.Get("RateLimit")); m != nil {
			seconds = m[1]
		}
	}
	if n, err := strconv.Atoi(seconds); err == nil && n >= 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(seconds); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// withoutURL strips the URL, and with it the model's name, off an HTTP error.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
