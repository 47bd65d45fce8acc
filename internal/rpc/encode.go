package rpc

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// encodeArguments writes the arguments of a call as tagged JSON: what
// encoding/json writes, but NaN, infinities, []byte, time.Time and
// time.Duration arrive as what they are in Python.
func encodeArguments(kwargs map[string]any) ([]byte, error) {
	tree := make(map[string]any, len(kwargs))
	for name, value := range kwargs {
		encoded, err := encodeValue(reflect.ValueOf(value))
		if err != nil {
			return nil, fmt.Errorf("encode argument %s: %w", name, err)
		}
		tree[name] = encoded
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("encode arguments: %w", err)
	}
	return data, nil
}

func tag(name string, body any) map[string]any { return map[string]any{name: body} }

// encodeValue returns a tree that encoding/json writes as wanted.
func encodeValue(value reflect.Value) (any, error) {
	if !value.IsValid() {
		return nil, nil
	}
	switch v := value.Interface().(type) {
	case Value:
		return json.RawMessage(v), nil
	case time.Time:
		return tag("$datetime", v.Format("2006-01-02T15:04:05.000000-07:00")), nil
	case time.Duration:
		const day = 24 * time.Hour
		return tag("$timedelta", []int64{int64(v / day), int64(v % day / time.Second), int64(v % time.Second / time.Microsecond)}), nil
	case []byte:
		return tag("$bytes", base64.StdEncoding.EncodeToString(v)), nil
	case json.Marshaler, encoding.TextMarshaler:
		return v, nil
	}
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if value.IsNil() {
			return nil, nil
		}
		return encodeValue(value.Elem())
	case reflect.Float32, reflect.Float64:
		return encodeFloat(value.Float()), nil
	case reflect.Complex64, reflect.Complex128:
		return tag("$complex", []any{encodeFloat(real(value.Complex())), encodeFloat(imag(value.Complex()))}), nil
	case reflect.Slice, reflect.Array:
		if value.Kind() == reflect.Slice && value.IsNil() {
			return nil, nil
		}
		return encodeList(value)
	case reflect.Map:
		if value.IsNil() {
			return nil, nil
		}
		return encodeMap(value)
	}
	return value.Interface(), nil
}

func encodeFloat(number float64) any {
	switch {
	case math.IsNaN(number):
		return tag("$float", "nan")
	case math.IsInf(number, 1):
		return tag("$float", "inf")
	case math.IsInf(number, -1):
		return tag("$float", "-inf")
	}
	return number
}

func encodeList(value reflect.Value) (any, error) {
	list := make([]any, value.Len())
	for i := range list {
		encoded, err := encodeValue(value.Index(i))
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		list[i] = encoded
	}
	return list, nil
}

func encodeMap(value reflect.Value) (any, error) {
	tree := make(map[string]any, value.Len())
	pairs := make([][2]any, 0, value.Len())
	plain := true
	for key, item := range value.Seq2() {
		encoded, err := encodeValue(item)
		if err != nil {
			return nil, fmt.Errorf("[%v]: %w", key, err)
		}
		if key.Kind() != reflect.String || strings.HasPrefix(key.String(), "$") {
			plain = false
		}
		if plain {
			tree[key.String()] = encoded
		}
		pairs = append(pairs, [2]any{key.Interface(), encoded})
	}
	if plain {
		return tree, nil
	}
	return tag("$dict", pairs), nil
}
