package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/shown"
)

// Client calls the functions of one service. It may be used from several
// goroutines.
type Client struct {
	endpoint
	name string
}

// NewClient returns a client of the service at a base URL, as
// Server.ServiceURL gives it. A nil client is http.DefaultClient, which keeps
// few idle connections; many concurrent callers want one that keeps more.
func NewClient(serviceURL, name, token string, client *http.Client) *Client {
	return &Client{newEndpoint(serviceURL, token, client), name}
}

// Describe returns what the service offers.
func (c *Client) Describe(ctx context.Context) (*Description, error) {
	var description Description
	if err := c.exchange(ctx, http.MethodGet, "", &description); err != nil {
		return nil, fmt.Errorf("describe service %s: %w", c.name, err)
	}
	for i, function := range description.Functions {
		// It stands in prompts and documents, which are the owner's: one line, and no
		// order for a terminal.
		description.Functions[i].Signature = shown.Line(function.Signature)
	}
	return &description, nil
}

// Health checks that the server answers, that it knows the service's token,
// and that the service is ready. It does not wait for calls that run.
func (c *Client) Health(ctx context.Context) error {
	if err := c.identify(ctx, c.name); err != nil {
		return fmt.Errorf("check service %s: %w", c.name, err)
	}
	description, err := c.Describe(ctx)
	if err != nil {
		return err
	}
	if description.State != "ready" {
		return fmt.Errorf("check service %s: it is %s", c.name, description.State)
	}
	return nil
}

// Call runs a function. kwargs are its arguments by name, a list for *args and
// an object for **kwargs. What the function returns is decoded into result as
// by [Value.Decode]; a *json.RawMessage gets it as plain JSON, which Python's
// other types are turned into, and nil drops it. The items of a function that
// streams are collected in a list.
//
// The end of ctx cancels the call: a coroutine at once, other code when it
// next runs Python instructions. Errors of the service are *CallError.
func (c *Client) Call(ctx context.Context, function string, kwargs map[string]any, result any) error {
	_, plain := result.(*json.RawMessage)
	response, err := c.start(ctx, function, kwargs, plain)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	value, err := collect(response, function)
	if err != nil {
		return c.broken(function, err)
	}
	switch result := result.(type) {
	case nil:
		return nil
	case *json.RawMessage:
		*result = json.RawMessage(value)
		return nil
	}
	if err := value.Decode(result); err != nil {
		return fmt.Errorf("call %s: decode result: %w", function, err)
	}
	return nil
}

// CallJSON runs a function with plain JSON, in which nothing is a tag of ours,
// and returns the result as plain JSON. The arguments are held to the
// function's annotations: null for one that has a default counts as left out,
// a text that plainly means another value is read, and what does not fit is
// refused. No arguments, and null, are an empty object.
func (c *Client) CallJSON(ctx context.Context, function string, arguments json.RawMessage) (json.RawMessage, error) {
	if len(arguments) == 0 || string(arguments) == "null" {
		arguments = json.RawMessage("{}")
	}
	response, err := c.post(ctx, function, arguments, http.Header{}, true)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	value, err := collect(response, function)
	if err != nil {
		return nil, c.broken(function, err)
	}
	if !json.Valid(value) {
		return nil, fmt.Errorf("call %s: the result is not JSON", function)
	}
	return json.RawMessage(value), nil
}

// CallStream runs a function and yields its items as they come; a function
// that does not stream yields its one result. An error is the last thing
// yielded. Leaving the loop cancels the call.
func (c *Client) CallStream(ctx context.Context, function string, kwargs map[string]any) iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		response, err := c.start(ctx, function, kwargs, false)
		if err != nil {
			yield(nil, err)
			return
		}
		defer response.Body.Close()
		for value, err := range items(response, function) {
			if err != nil {
				yield(nil, c.broken(function, err))
				return
			}
			if !yield(value, nil) {
				return
			}
		}
	}
}

// start sends the call and returns an answer that is not an error.
func (c *Client) start(ctx context.Context, function string, kwargs map[string]any, plain bool) (*http.Response, error) {
	if kwargs == nil {
		kwargs = map[string]any{}
	}
	body, err := encodeArguments(kwargs)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", function, err)
	}
	return c.post(ctx, function, body, http.Header{"X-Seer-Arguments": {"tagged"}}, plain)
}

// post sends the JSON of arguments, which is plain unless the header says otherwise.
func (c *Client) post(ctx context.Context, function string, body []byte, header http.Header, plain bool) (*http.Response, error) {
	if !plain {
		header.Set("X-Seer-Values", "tagged")
	}
	response, err := c.send(ctx, http.MethodPost, "/call/"+url.PathEscape(function), body, header)
	if err != nil {
		return nil, c.broken(function, err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	data, err := readFailure(response.Body)
	if err != nil {
		return nil, c.broken(function, err)
	}
	return nil, answeredFailure(response.StatusCode, data).callError(function, response.StatusCode)
}

func (c *Client) broken(function string, err error) error {
	if failed := (*CallError)(nil); errors.As(err, &failed) {
		return err
	}
	return fmt.Errorf("call %s: %w", function, err)
}

type callEvent struct {
	Result Value    `json:"result"`
	Item   Value    `json:"item"`
	Done   bool     `json:"done"`
	Error  *failure `json:"error"`
}

func streamed(response *http.Response) bool {
	return strings.HasPrefix(response.Header.Get("Content-Type"), "application/x-ndjson")
}

// items yields the results of an answer: those of a stream, or the only one.
func items(response *http.Response, function string) iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		if !streamed(response) {
			yield(collect(response, function))
			return
		}
		for event, err := range jsonLines[callEvent](response.Body, maxResult) {
			switch {
			case err != nil:
				yield(nil, err)
				return
			case event.Error != nil:
				yield(nil, event.Error.callError(function, http.StatusInternalServerError))
				return
			case event.Done:
				return
			}
			if !yield(event.Item, nil) {
				return
			}
		}
		yield(nil, io.ErrUnexpectedEOF)
	}
}

// collect returns the one result of an answer, or the list of its items.
func collect(response *http.Response, function string) (Value, error) {
	if !streamed(response) {
		data, err := readWhole(response)
		if err != nil {
			return nil, err
		}
		return unwrapResult(data)
	}
	list := []byte{'['}
	for item, err := range items(response, function) {
		if err != nil {
			return nil, err
		}
		if len(list)+len(item) > maxResult {
			return nil, tooLarge("result", maxResult)
		}
		if len(list) > 1 {
			list = append(list, ',')
		}
		list = append(list, item...)
	}
	return append(list, ']'), nil
}

// readWhole reads a body into one piece of its size: results may be large.
func readWhole(response *http.Response) ([]byte, error) {
	if response.ContentLength > maxResult {
		return nil, tooLarge("result", maxResult)
	}
	if response.ContentLength < 0 {
		return readAtMost(response.Body, maxResult, "result")
	}
	var data bytes.Buffer
	data.Grow(int(response.ContentLength) + bytes.MinRead)
	_, err := data.ReadFrom(response.Body)
	return data.Bytes(), err
}

var (
	resultHead = []byte(`{"result":`)
	resultTail = []byte(`}`)
)

// unwrapResult cuts the result out of its envelope, which is written in one
// way only, so that large results are parsed once.
func unwrapResult(data []byte) (Value, error) {
	data, headed := bytes.CutPrefix(data, resultHead)
	data, tailed := bytes.CutSuffix(data, resultTail)
	if !headed || !tailed {
		return nil, errors.New("answer is not a result")
	}
	return data, nil
}
