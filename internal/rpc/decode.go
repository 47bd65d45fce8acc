package rpc

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
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
	if !json.Valid(v) {
		return errors.New("decode value: not JSON")
	}
	decoder := json.NewDecoder(bytes.NewReader(v))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return err
	}
	return assign(target.Elem(), tree, false)
}

// assign stores a tree of tagged JSON in dst. It follows the rules of
// encoding/json, and leaves to it what holds no value of ours.
func assign(dst reflect.Value, tree any, quoted bool) error {
	if dst.Kind() == reflect.Interface && !dst.IsNil() {
		if inner := dst.Elem(); inner.Kind() == reflect.Pointer && !inner.IsNil() && (tree != nil || inner.Elem().Kind() == reflect.Pointer) {
			return assign(inner.Elem(), tree, quoted)
		}
	}
	if tree == nil {
		return assignNull(dst)
	}
	if dst.Kind() == reflect.Pointer {
		if dst.IsNil() {
			dst.Set(reflect.New(dst.Type().Elem()))
		}
		return assign(dst.Elem(), tree, quoted)
	}
	if raw, ok := dst.Addr().Interface().(*Value); ok {
		data, err := json.Marshal(tree)
		*raw = data
		return err
	}
	src, err := reveal(tree)
	if err != nil {
		return err
	}
	if _, isList := src.([]any); !isList && !quoted {
		if value := reflect.ValueOf(src); value.Type() == dst.Type() {
			dst.Set(value)
			return nil
		}
	}
	if done, err := unmarshal(dst, tree); done {
		return err
	}
	switch src := src.(type) {
	case []any:
		if dst.Kind() == reflect.Slice || dst.Kind() == reflect.Array {
			return assignList(dst, src)
		}
	case object:
		if dst.Kind() == reflect.Map {
			return assignMap(dst, src)
		}
		if dst.Kind() == reflect.Struct {
			return assignStruct(dst, src)
		}
	case float64: // NaN and the infinities
		if dst.CanFloat() {
			dst.SetFloat(src)
			return nil
		}
	case json.Number:
		if dst.CanFloat() && !quoted {
			if number, err := src.Float64(); err == nil && !dst.OverflowFloat(number) {
				dst.SetFloat(number)
				return nil
			}
		}
	case []byte, time.Time, time.Duration, complex128, Array:
		value := reflect.ValueOf(src)
		if value.Kind() == dst.Kind() && value.CanConvert(dst.Type()) {
			dst.Set(value.Convert(dst.Type()))
			return nil
		}
		if number, ok := src.(complex128); ok && dst.CanComplex() {
			dst.SetComplex(number)
			return nil
		}
	}
	if dst.Kind() == reflect.Interface {
		return assignInterface(dst, src)
	}
	return assignPlain(dst, tree, quoted)
}

// assignNull leaves alone what cannot be nil, as encoding/json does.
func assignNull(dst reflect.Value) error {
	switch dst.Kind() {
	case reflect.Interface, reflect.Pointer, reflect.Map, reflect.Slice:
		if _, custom := dst.Addr().Interface().(json.Unmarshaler); !custom || dst.Kind() == reflect.Pointer {
			dst.SetZero()
			return nil
		}
	}
	return json.Unmarshal([]byte("null"), dst.Addr().Interface())
}

// unmarshal gives the value to a dst that knows itself how to read it.
func unmarshal(dst reflect.Value, tree any) (done bool, err error) {
	switch custom := dst.Addr().Interface().(type) {
	case json.Unmarshaler:
		data, err := json.Marshal(plain(tree))
		if err != nil {
			return true, err
		}
		return true, custom.UnmarshalJSON(data)
	case encoding.TextUnmarshaler:
		if text, ok := plain(tree).(string); ok {
			return true, custom.UnmarshalText([]byte(text))
		}
		return true, assignPlain(dst, tree, false)
	}
	return false, nil
}

// assignPlain leaves a value to encoding/json, and its complaint if it does not fit.
func assignPlain(dst reflect.Value, tree any, quoted bool) error {
	if !quoted {
		data, err := json.Marshal(plain(tree))
		if err != nil {
			return err
		}
		return json.Unmarshal(data, dst.Addr().Interface())
	}
	data, err := json.Marshal(map[string]any{"it": plain(tree)})
	if err != nil {
		return err
	}
	holder := reflect.New(reflect.StructOf([]reflect.StructField{{Name: "It", Type: dst.Type(), Tag: `json:"it,string"`}}))
	if err := json.Unmarshal(data, holder.Interface()); err != nil {
		return err
	}
	dst.Set(holder.Elem().Field(0))
	return nil
}

func assignInterface(dst reflect.Value, src any) error {
	switch tree := src.(type) {
	case json.Number:
		number, err := tree.Float64()
		if err != nil {
			return &json.UnmarshalTypeError{Value: "number " + tree.String(), Type: reflect.TypeFor[float64]()}
		}
		src = number
	case []any:
		list := make([]any, len(tree))
		if err := assignList(reflect.ValueOf(&list).Elem(), tree); err != nil {
			return err
		}
		src = list
	case object:
		made := make(map[string]any, len(tree))
		if err := assignMap(reflect.ValueOf(&made).Elem(), tree); err != nil {
			return err
		}
		src = made
	}
	value := reflect.ValueOf(src)
	if !value.Type().AssignableTo(dst.Type()) {
		return &json.UnmarshalTypeError{Value: value.Kind().String(), Type: dst.Type()}
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
		if err := assign(dst.Index(i), list[i], false); err != nil {
			return err
		}
	}
	return nil
}

func assignMap(dst reflect.Value, tree object) error {
	if dst.IsNil() {
		dst.Set(reflect.MakeMapWithSize(dst.Type(), len(tree)))
	}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		key, err := mapKey(dst.Type().Key(), name)
		if err != nil {
			return err
		}
		value := reflect.New(dst.Type().Elem()).Elem()
		if err := assign(value, tree[name], false); err != nil {
			return err
		}
		dst.SetMapIndex(key, value)
	}
	return nil
}

func mapKey(t reflect.Type, name string) (reflect.Value, error) {
	key := reflect.New(t)
	if custom, ok := key.Interface().(encoding.TextUnmarshaler); ok {
		return key.Elem(), custom.UnmarshalText([]byte(name))
	}
	key = key.Elem()
	wrong := &json.UnmarshalTypeError{Value: "number " + name, Type: t}
	switch {
	case t.Kind() == reflect.String:
		key.SetString(name)
	case key.CanInt():
		number, err := strconv.ParseInt(name, 10, 64)
		if err != nil || key.OverflowInt(number) {
			return key, wrong
		}
		key.SetInt(number)
	case key.CanUint():
		number, err := strconv.ParseUint(name, 10, 64)
		if err != nil || key.OverflowUint(number) {
			return key, wrong
		}
		key.SetUint(number)
	default:
		return key, &json.UnmarshalTypeError{Value: "object", Type: t}
	}
	return key, nil
}

func assignStruct(dst reflect.Value, tree object) error {
	fields := fieldsOf(dst.Type())
	byName := make(map[string]field, len(fields))
	for _, f := range fields {
		byName[f.name] = f
	}
	var exact []string
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		if _, ok := byName[name]; ok {
			exact = append(exact, name)
			continue
		}
		for _, f := range fields {
			if strings.EqualFold(f.name, name) {
				if err := assignField(dst, f, tree[name]); err != nil {
					return err
				}
				break
			}
		}
	}
	for _, name := range exact { // after those that differ in case
		if err := assignField(dst, byName[name], tree[name]); err != nil {
			return err
		}
	}
	return nil
}

func assignField(dst reflect.Value, f field, tree any) error {
	for i, step := range f.index {
		if i > 0 && dst.Kind() == reflect.Pointer {
			if dst.IsNil() {
				if !dst.CanSet() {
					return fmt.Errorf("decode value: field %s lies in a nil pointer to an unexported struct", f.name)
				}
				dst.Set(reflect.New(dst.Type().Elem()))
			}
			dst = dst.Elem()
		}
		dst = dst.Field(step)
	}
	return assign(dst, tree, f.quoted)
}
