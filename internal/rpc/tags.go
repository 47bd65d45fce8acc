package rpc

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// object is a dict, whatever its keys look like: what a map that was read from
// JSON is once it is known to be no tag.
type object map[string]any

// reveal returns what a tree of tagged JSON is: nil, bool, string,
// json.Number, []any or object, with trees inside, or a value of ours.
func reveal(tree any) (any, error) {
	given, ok := tree.(map[string]any)
	if !ok {
		return tree, nil
	}
	for name, body := range given {
		if len(given) == 1 && strings.HasPrefix(name, "$") {
			return revealTag(name, body)
		}
	}
	return object(given), nil
}

func revealTag(name string, body any) (any, error) {
	text, isText := body.(string)
	list, isList := body.([]any)
	wrong := fmt.Errorf("decode value: malformed %s", name)
	switch name {
	case "$decimal", "$uuid", "$path", "$date", "$time", "$float", "$bytes", "$datetime":
		if !isText {
			return nil, wrong
		}
	case "$tuple", "$set", "$frozenset", "$dict", "$timedelta", "$complex":
		if !isList {
			return nil, wrong
		}
	}
	switch name {
	case "$decimal", "$uuid", "$path", "$date", "$time":
		return text, nil
	case "$tuple", "$set", "$frozenset":
		return list, nil
	case "$float":
		number, known := floats[text]
		if !known {
			return nil, wrong
		}
		return number, nil
	case "$bytes":
		return base64.StdEncoding.DecodeString(text)
	case "$datetime":
		return parseDatetime(text)
	case "$timedelta":
		return revealDuration(list, wrong)
	case "$complex":
		return revealComplex(list, wrong)
	case "$ndarray":
		var array Array
		data, err := json.Marshal(body)
		if err == nil {
			err = json.Unmarshal(data, &array)
		}
		return array, err
	case "$dict":
		return revealDict(list)
	}
	return nil, fmt.Errorf("decode value: unknown tag %.40q", name)
}

var floats = map[string]float64{"nan": math.NaN(), "inf": math.Inf(1), "-inf": math.Inf(-1)}

func revealDuration(list []any, wrong error) (any, error) {
	units := [3]time.Duration{24 * time.Hour, time.Second, time.Microsecond}
	if len(list) != len(units) {
		return nil, wrong
	}
	var sum float64
	var total time.Duration
	for i, unit := range units {
		number, _ := list[i].(json.Number)
		count, err := number.Int64()
		if err != nil {
			return nil, wrong
		}
		sum += float64(count) * float64(unit)
		total += time.Duration(count) * unit
	}
	if math.Abs(sum) >= math.MaxInt64 {
		return nil, errors.New("decode value: a timedelta of more than 292 years is no time.Duration")
	}
	return total, nil
}

func revealComplex(list []any, wrong error) (any, error) {
	var parts [2]float64
	if len(list) != len(parts) {
		return nil, wrong
	}
	for i, tree := range list {
		part, err := reveal(tree)
		if err != nil {
			return nil, err
		}
		switch part := part.(type) {
		case float64:
			parts[i] = part
		case json.Number:
			if parts[i], err = part.Float64(); err != nil {
				return nil, wrong
			}
		default:
			return nil, wrong
		}
	}
	return complex(parts[0], parts[1]), nil
}

func revealDict(pairs []any) (any, error) {
	tree := make(object, len(pairs))
	for _, one := range pairs {
		pair, ok := one.([]any)
		if !ok || len(pair) != 2 {
			return nil, errors.New("decode value: malformed $dict")
		}
		key := plain(pair[0])
		text, ok := key.(string)
		if !ok {
			data, err := json.Marshal(key)
			if err != nil {
				return nil, err
			}
			text = string(data)
		}
		tree[text] = pair[1]
	}
	return tree, nil
}

func parseDatetime(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05.999999999Z07:00:00", time.RFC3339Nano} {
		if moment, err := time.Parse(layout, text); err == nil {
			return moment, nil
		}
	}
	return time.Parse("2006-01-02T15:04:05.999999999", text)
}

// plain turns a tree into what the server sends to those who know no tags.
// What is malformed stays as it is.
func plain(tree any) any {
	switch tree := tree.(type) {
	case []any:
		list := make([]any, len(tree))
		for i, item := range tree {
			list[i] = plain(item)
		}
		return list
	case map[string]any:
		for name, body := range tree {
			if len(tree) == 1 && strings.HasPrefix(name, "$") {
				return plainTag(name, body, tree)
			}
		}
		return plainObject(tree)
	}
	return tree
}

func plainObject(tree object) map[string]any {
	made := make(map[string]any, len(tree))
	for name, item := range tree {
		made[name] = plain(item)
	}
	return made
}

func plainTag(name string, body any, tree map[string]any) any {
	value, err := revealTag(name, body)
	if err != nil {
		return tree
	}
	switch value := value.(type) {
	case float64:
		switch {
		case math.IsNaN(value):
			return "NaN"
		case value < 0:
			return "-Infinity"
		}
		return "Infinity"
	case time.Duration:
		return value.Seconds()
	case complex128:
		return plain(body)
	case object:
		return plainObject(value)
	case []any:
		return plain(value)
	}
	return body // the text that it was sent as
}
