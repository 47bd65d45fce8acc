package rpc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// Value is a Python value as the server sends it: JSON in which an object of
// one key that starts with "$" stands for what JSON cannot say.
type Value []byte

// Array is an array that was sent as base64.
type Array struct {
	// DType is numpy's name of the element type, "<f4".
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	// Data is the elements in row-major order.
	Data []byte `json:"data"`
}

// MarshalJSON returns the value as it is.
func (v Value) MarshalJSON() ([]byte, error) { return json.RawMessage(v).MarshalJSON() }

// UnmarshalJSON keeps a copy of the JSON.
func (v *Value) UnmarshalJSON(data []byte) error {
	*v = append((*v)[:0], data...)
	return nil
}

// Decode stores the value in what dst points to, as encoding/json does, and
// beyond it: float64 takes NaN and infinities, []byte takes bytes, time.Time a
// datetime (UTC if Python's has no zone), time.Duration a timedelta,
// complex128 a complex, [Array] an array sent as base64. Tuples and sets are
// lists; Decimal, UUID, Path, date and time are strings; keys of a dict that
// are no strings are written as JSON.
func (v Value) Decode(dst any) error {
	target := reflect.ValueOf(dst)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("decode value: %T is not a pointer to store it in", dst)
	}
	if !bytes.Contains(v, []byte(`"$`)) {
		return json.Unmarshal(v, dst)
	}
	decoder := json.NewDecoder(bytes.NewReader(v))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return err
	}
	tree, err := untag(tree)
	if err != nil {
		return err
	}
	return assign(target.Elem(), tree)
}

// untag replaces tagged objects by Go values, in place.
func untag(tree any) (any, error) {
	var err error
	switch tree := tree.(type) {
	case []any:
		for i := range tree {
			if tree[i], err = untag(tree[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name, body := range tree {
			if tree[name], err = untag(body); err != nil {
				return nil, err
			}
		}
		for name, body := range tree {
			if len(tree) == 1 && strings.HasPrefix(name, "$") {
				return untagOne(name, body)
			}
		}
	}
	return tree, nil
}

func untagOne(name string, body any) (any, error) {
	text, isText := body.(string)
	list, isList := body.([]any)
	switch name {
	case "$tuple", "$set", "$frozenset", "$decimal", "$uuid", "$path", "$date", "$time":
		return body, nil
	case "$float":
		return map[string]float64{"nan": math.NaN(), "inf": math.Inf(1), "-inf": math.Inf(-1)}[text], nil
	case "$bytes":
		return base64.StdEncoding.DecodeString(text)
	case "$datetime":
		return parseDatetime(text)
	case "$timedelta":
		var parts [3]int64
		if err := remarshal(body, &parts); err != nil {
			return nil, err
		}
		seconds := time.Duration(parts[0])*24*time.Hour + time.Duration(parts[1])*time.Second
		return seconds + time.Duration(parts[2])*time.Microsecond, nil
	case "$complex":
		var parts [2]float64
		if err := assign(reflect.ValueOf(&parts).Elem(), body); err != nil {
			return nil, err
		}
		return complex(parts[0], parts[1]), nil
	case "$ndarray":
		var array Array
		err := remarshal(body, &array)
		return array, err
	case "$dict":
		if isList {
			return untagDict(list)
		}
	}
	if !isText && !isList {
		return map[string]any{name: body}, nil
	}
	return nil, fmt.Errorf("decode value: unknown tag %q", name)
}

func untagDict(pairs []any) (any, error) {
	tree := make(map[string]any, len(pairs))
	for _, entry := range pairs {
		pair, ok := entry.([]any)
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("decode value: malformed dict")
		}
		key, ok := pair[0].(string)
		if !ok {
			data, err := json.Marshal(pair[0])
			if err != nil {
				return nil, err
			}
			key = string(data)
		}
		tree[key] = pair[1]
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

func remarshal(from, to any) error {
	data, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, to)
}

// assign stores an untagged tree in dst. What holds no special value goes
// through encoding/json.
func assign(dst reflect.Value, src any) error {
	if src == nil {
		dst.SetZero()
		return nil
	}
	switch leaf := src.(type) {
	case []any, map[string]any:
	case json.Number:
		if dst.Kind() == reflect.Interface {
			float, err := leaf.Float64()
			if err != nil {
				return err
			}
			src = float
		}
	default:
		if value := reflect.ValueOf(src); dst.Kind() != reflect.Interface && value.Type().AssignableTo(dst.Type()) {
			dst.Set(value)
			return nil
		}
	}
	if _, custom := dst.Addr().Interface().(json.Unmarshaler); custom {
		return remarshal(src, dst.Addr().Interface())
	}
	switch dst.Kind() {
	case reflect.Interface:
		return assignInterface(dst, src)
	case reflect.Pointer:
		if dst.IsNil() {
			dst.Set(reflect.New(dst.Type().Elem()))
		}
		return assign(dst.Elem(), src)
	case reflect.Float32, reflect.Float64:
		if float, ok := src.(float64); ok {
			dst.SetFloat(float)
			return nil
		}
	case reflect.Slice, reflect.Array:
		if list, ok := src.([]any); ok {
			return assignList(dst, list)
		}
	case reflect.Map:
		if tree, ok := src.(map[string]any); ok && dst.Type().Key().Kind() == reflect.String {
			return assignMap(dst, tree)
		}
	case reflect.Struct:
		if tree, ok := src.(map[string]any); ok {
			return assignStruct(dst, tree)
		}
	}
	return remarshal(src, dst.Addr().Interface())
}

func assignInterface(dst reflect.Value, src any) error {
	switch tree := src.(type) {
	case []any:
		list := make([]any, len(tree))
		if err := assignList(reflect.ValueOf(&list).Elem(), tree); err != nil {
			return err
		}
		src = list
	case map[string]any:
		object := make(map[string]any, len(tree))
		if err := assignMap(reflect.ValueOf(&object).Elem(), tree); err != nil {
			return err
		}
		src = object
	}
	value := reflect.ValueOf(src)
	if !value.Type().AssignableTo(dst.Type()) {
		return fmt.Errorf("decode value: a %T is no %s", src, dst.Type())
	}
	dst.Set(value)
	return nil
}

func assignList(dst reflect.Value, list []any) error {
	if dst.Kind() == reflect.Slice {
		dst.Set(reflect.MakeSlice(dst.Type(), len(list), len(list)))
	} else {
		dst.SetZero()
	}
	for i := range min(len(list), dst.Len()) {
		if err := assign(dst.Index(i), list[i]); err != nil {
			return err
		}
	}
	return nil
}

func assignMap(dst reflect.Value, tree map[string]any) error {
	if dst.IsNil() {
		dst.Set(reflect.MakeMapWithSize(dst.Type(), len(tree)))
	}
	for name, item := range tree {
		value := reflect.New(dst.Type().Elem()).Elem()
		if err := assign(value, item); err != nil {
			return err
		}
		dst.SetMapIndex(reflect.ValueOf(name).Convert(dst.Type().Key()), value)
	}
	return nil
}

func assignStruct(dst reflect.Value, tree map[string]any) error {
	for _, field := range reflect.VisibleFields(dst.Type()) {
		if !field.IsExported() || field.Anonymous {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		item, found := tree[name]
		for key := range tree {
			if !found && strings.EqualFold(key, name) {
				item, found = tree[key], true
			}
		}
		if !found {
			continue
		}
		target, err := dst.FieldByIndexErr(field.Index)
		if err != nil {
			continue // inside an embedded pointer that is nil
		}
		if err := assign(target, item); err != nil {
			return err
		}
	}
	return nil
}
