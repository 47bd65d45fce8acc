package rpc

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// endpoint is a base URL with the token for what lies below it.
type endpoint struct {
	url   string
	token string
	http  *http.Client
}

func newEndpoint(base, token string, client *http.Client) endpoint {
	if client == nil {
		client = http.DefaultClient
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return endpoint{url: strings.TrimRight(base, "/"), token: token, http: &own}
}

// What a server may say is bounded, in bytes: it runs where somebody else's
// code does, and what reads it is our program's own memory.
const (
	maxResult      = 256 << 20 // a result, an item, or all items together where they are collected
	maxDescription = 16 << 20
	maxFailure     = 2 << 20
	maxLogLine     = 1 << 20 // the server cuts a line at 64 KiB; JSON may need more for it
)

func tooLarge(what string, limit int64) error {
	return fmt.Errorf("the %s has more than %d MiB", what, limit>>20)
}

func readAtMost(body io.Reader, limit int64, what string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = tooLarge(what, limit)
	}
	return data, err
}

func readFailure(body io.Reader) ([]byte, error) { return readAtMost(body, maxFailure, "error") }

func (e endpoint) send(ctx context.Context, method, path string, body []byte, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, e.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+e.token)
	return e.http.Do(request)
}

// exchange sends a request and reads an answer that is one JSON value.
func (e endpoint) exchange(ctx context.Context, method, path string, into any) error {
	response, err := e.send(ctx, method, path, nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := readAtMost(response.Body, maxDescription, "answer")
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return refusal(response.StatusCode, data)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

// failure is the server's error as it travels.
type failure struct {
	Type       string    `json:"type"`
	Message    string    `json:"message"`
	Bases      []string  `json:"bases"`
	Notes      []string  `json:"notes"`
	Exceptions []failure `json:"exceptions"`
	Traceback  string    `json:"traceback"`
}

func (f failure) callError(function string, status int) *CallError {
	failed := &CallError{
		Function: function, Type: f.Type, Message: f.Message, Bases: f.Bases, Notes: f.Notes, Traceback: f.Traceback, Status: status,
	}
	for _, member := range f.Exceptions {
		failed.Exceptions = append(failed.Exceptions, member.callError(function, status))
	}
	return failed
}

// answeredFailure reads the error of an answer. What sits between us and the
// server may answer too, in words of its own.
func answeredFailure(status int, data []byte) failure {
	var answer struct {
		Error failure `json:"error"`
	}
	if err := json.Unmarshal(data, &answer); err != nil || answer.Error.Type == "" {
		return failure{Type: "HTTPError", Message: fmt.Sprintf("HTTP status %d: %.200q", status, data)}
	}
	return answer.Error
}

func refusal(status int, data []byte) error {
	failed := answeredFailure(status, data)
	switch {
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case failed.Type == "UnknownService":
		return ErrNotServed
	}
	return fmt.Errorf("%s: %s", failed.Type, failed.Message)
}

// identify asks whoever answers to prove that it knows the token, without
// sending the token. name is "" for the server itself.
func (e endpoint) identify(ctx context.Context, name string) error {
	nonce := rand.Text()
	var answer struct {
		Proof string `json:"proof"`
	}
	anonymous := endpoint{url: e.url, http: e.http}
	if err := anonymous.exchange(ctx, http.MethodGet, "/healthz?nonce="+url.QueryEscape(nonce), &answer); err != nil {
		return err
	}
	mac := hmac.New(sha256.New, []byte(e.token))
	fmt.Fprintf(mac, "seer-rpc health %s %s", name, nonce)
	given, err := hex.DecodeString(answer.Proof)
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return errors.New("what answers there does not know the token")
	}
	return nil
}
