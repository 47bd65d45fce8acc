package rpc

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
)

// encodeArguments writes the arguments of a call as tagged JSON: what
// encoding/json writes, but NaN, infinities, []byte, time.Time and
// time.Duration arrive as what they are in Python, wherever they are. A key
// that starts with "$" is written so that it is read as nothing but a key.
func encodeArguments(kwargs map[string]any) ([]byte, error) {
	var e encoder
	e.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(kwargs)) {
		if i > 0 {
			e.WriteByte(',')
		}
		if err := e.scalar(name); err != nil {
			return nil, fmt.Errorf("encode argument %s: %w", name, err)
		}
		e.WriteByte(':')
		if err := e.value(reflect.ValueOf(kwargs[name]), 0); err != nil {
			return nil, fmt.Errorf("encode argument %s: %w", name, err)
		}
	}
	e.WriteByte('}')
	return e.Bytes(), nil
}

// maxDepth bounds how deeply a value may be nested: one that contains itself
// has no end, and Python reads no deeper.
const maxDepth = 1000

type encoder struct{ bytes.Buffer }

func (e *encoder) value(v reflect.Value, depth int) error {
	if depth > maxDepth {
		return errors.New("is nested too deeply or contains itself")
	}
	for v.IsValid() && v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		e.WriteString("null")
		return nil
	}
	if done, err := e.special(v.Interface()); done {
		return err
	}
	if v.Kind() == reflect.Pointer && slices.Contains(specialTypes, v.Type().Elem()) {
		return e.value(v.Elem(), depth+1)
	}
	if done, err := e.marshaler(v); done {
		return err
	}
	switch v.Kind() {
	case reflect.Pointer:
		return e.value(v.Elem(), depth+1)
	case reflect.Float32, reflect.Float64:
		return e.float(v)
	case reflect.Complex64, reflect.Complex128:
		return e.complex(v.Complex())
	case reflect.Slice:
		if v.IsNil() {
			e.WriteString("null")
			return nil
		}
		if v.Type().Elem().Kind() == reflect.Uint8 && !marshals(reflect.PointerTo(v.Type().Elem())) {
			return e.tagText("$bytes", base64.StdEncoding.EncodeToString(v.Bytes()))
		}
		return e.list(v, depth)
	case reflect.Array:
		return e.list(v, depth)
	case reflect.Map:
		if v.IsNil() {
			e.WriteString("null")
			return nil
		}
		return e.mapping(v, depth)
	case reflect.Struct:
		return e.structure(v, depth)
	}
	return e.scalar(v.Interface())
}

var specialTypes = []reflect.Type{reflect.TypeFor[Value](), reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration]()}

// special writes what has a tag of its own.
func (e *encoder) special(v any) (done bool, err error) {
	switch v := v.(type) {
	case Value:
		if !json.Valid(v) {
			return true, errors.New("a Value that is no JSON")
		}
		e.Write(v)
	case time.Time:
		return true, e.tagText("$datetime", v.Format("2006-01-02T15:04:05.000000-07:00"))
	case time.Duration:
		const day = 24 * time.Hour
		fmt.Fprintf(e, `{"$timedelta":[%d,%d,%d]}`, v/day, v%day/time.Second, v%time.Second/time.Microsecond)
	default:
		return false, nil
	}
	return true, nil
}

var (
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

func marshals(t reflect.Type) bool {
	return t.Implements(marshalerType) || t.Implements(textMarshalerType)
}

// marshaler writes a value that says itself what its JSON is.
func (e *encoder) marshaler(v reflect.Value) (done bool, err error) {
	if !marshals(v.Type()) {
		if !v.CanAddr() || !marshals(reflect.PointerTo(v.Type())) {
			return false, nil
		}
		v = v.Addr()
	}
	data, err := json.Marshal(v.Interface())
	if err != nil {
		return true, err
	}
	return true, e.plain(data)
}

// scalar writes what encoding/json writes without a word of ours.
func (e *encoder) scalar(v any) error {
	data, err := json.Marshal(v)
	e.Write(data)
	return err
}

func (e *encoder) tagText(name, text string) error {
	e.WriteString(`{"` + name + `":`)
	err := e.scalar(text)
	e.WriteByte('}')
	return err
}

func (e *encoder) float(v reflect.Value) error {
	switch number := v.Float(); {
	case math.IsNaN(number):
		e.WriteString(`{"$float":"nan"}`)
	case math.IsInf(number, 1):
		e.WriteString(`{"$float":"inf"}`)
	case math.IsInf(number, -1):
		e.WriteString(`{"$float":"-inf"}`)
	default:
		return e.scalar(v.Interface())
	}
	return nil
}

func (e *encoder) complex(number complex128) error {
	e.WriteString(`{"$complex":[`)
	err := e.float(reflect.ValueOf(real(number)))
	e.WriteByte(',')
	if err == nil {
		err = e.float(reflect.ValueOf(imag(number)))
	}
	e.WriteString(`]}`)
	return err
}

func (e *encoder) list(v reflect.Value, depth int) error {
	e.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			e.WriteByte(',')
		}
		if err := e.value(v.Index(i), depth+1); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	e.WriteByte(']')
	return nil
}

// entry is a key and a value of an object, both as JSON.
type entry struct {
	key, value []byte
	special    bool // the key is no text, or one that could be taken for a tag
}

// object writes entries as an object, or as pairs if a key asks for it.
func (e *encoder) object(entries []entry) {
	between, open, end := ":", "", ""
	if slices.ContainsFunc(entries, func(one entry) bool { return one.special }) {
		e.WriteString(`{"$dict":[`)
		defer e.WriteString(`]}`)
		open, between, end = "[", ",", "]"
	} else {
		e.WriteByte('{')
		defer e.WriteByte('}')
	}
	for i, one := range entries {
		if i > 0 {
			e.WriteByte(',')
		}
		e.WriteString(open)
		e.Write(one.key)
		e.WriteString(between)
		e.Write(one.value)
		e.WriteString(end)
	}
}

func textEntry(name string, value []byte) (entry, error) {
	key, err := json.Marshal(name)
	return entry{key, value, strings.HasPrefix(name, "$")}, err
}

func (e *encoder) mapping(v reflect.Value, depth int) error {
	entries := make([]entry, 0, v.Len())
	for key, item := range v.Seq2() {
		var written, name encoder
		if err := written.value(item, depth+1); err != nil {
			return fmt.Errorf("[%v]: %w", key, err)
		}
		one := entry{special: true}
		var err error
		if text, ok := keyText(key); ok {
			one, err = textEntry(text, nil)
		} else {
			err = name.value(key, depth+1)
			one.key = name.Bytes()
		}
		if err != nil {
			return fmt.Errorf("[%v]: %w", key, err)
		}
		one.value = written.Bytes()
		entries = append(entries, one)
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	e.object(entries)
	return nil
}

// keyText is a key that is a text, or writes itself as one.
func keyText(key reflect.Value) (string, bool) {
	if key.Kind() == reflect.String {
		return key.String(), true
	}
	if text, ok := key.Interface().(encoding.TextMarshaler); ok && (key.Kind() != reflect.Pointer || !key.IsNil()) {
		if data, err := text.MarshalText(); err == nil {
			return string(data), true
		}
	}
	return "", false
}

func (e *encoder) structure(v reflect.Value, depth int) error {
	var entries []entry
	for _, f := range fieldsOf(v.Type()) {
		item, err := v.FieldByIndexErr(f.index)
		if err != nil || f.left(item) { // inside an embedded pointer that is nil
			continue
		}
		var written encoder
		if f.quoted {
			err = written.quoted(item)
		} else {
			err = written.value(item, depth+1)
		}
		if err == nil {
			var one entry
			one, err = textEntry(f.name, written.Bytes())
			entries = append(entries, one)
		}
		if err != nil {
			return fmt.Errorf(".%s: %w", f.name, err)
		}
	}
	e.object(entries)
	return nil
}

// quoted writes a field that has the option ",string".
func (e *encoder) quoted(v reflect.Value) error {
	var plain encoder
	if err := plain.value(v, 0); err != nil {
		return err
	}
	data := plain.Bytes()
	if v.Kind() == reflect.Pointer && v.IsNil() || bytes.HasPrefix(data, []byte(`{"$`)) {
		e.Write(data)
		return nil
	}
	return e.scalar(string(data))
}

// plain writes JSON that is not ours: nothing in it is a tag.
func (e *encoder) plain(data []byte) error {
	if !bytes.Contains(data, []byte(`"$`)) && !bytes.Contains(data, []byte(`\u0024`)) {
		e.Write(data)
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data)) // of JSON that json.Marshal has found valid
	decoder.UseNumber()
	return e.tokens(decoder)
}

func (e *encoder) tokens(decoder *json.Decoder) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('['):
		e.WriteByte('[')
		for i := 0; decoder.More(); i++ {
			if i > 0 {
				e.WriteByte(',')
			}
			if err := e.tokens(decoder); err != nil {
				return err
			}
		}
		e.WriteByte(']')
	case json.Delim('{'):
		var entries []entry
		for decoder.More() {
			name, err := decoder.Token()
			if err != nil {
				return err
			}
			var written encoder
			if err := written.tokens(decoder); err != nil {
				return err
			}
			text, _ := name.(string)
			one, err := textEntry(text, written.Bytes())
			if err != nil {
				return err
			}
			entries = append(entries, one)
		}
		e.object(entries)
	default:
		return e.scalar(token)
	}
	_, err = decoder.Token() // what closes it
	return err
}
