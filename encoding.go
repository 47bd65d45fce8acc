package seer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// MarshalJSON writes durations as "1h30m" and leaves zero values out.
func (c SandboxConfig) MarshalJSON() ([]byte, error) { return json.Marshal(toWire(c)) }

// UnmarshalJSON reads what MarshalJSON writes. Unknown keys are errors.
func (c *SandboxConfig) UnmarshalJSON(data []byte) error { return fromWire(c, strictJSON(data)) }

// MarshalYAML writes durations as "1h30m" and leaves zero values out.
func (c SandboxConfig) MarshalYAML() (any, error) { return toWire(c), nil }

// UnmarshalYAML reads what MarshalYAML writes.
func (c *SandboxConfig) UnmarshalYAML(unmarshal func(any) error) error {
	return fromWire(c, unmarshal)
}

// MarshalJSON writes durations as "1h30m" and leaves zero values out.
func (r RepoConfig) MarshalJSON() ([]byte, error) { return json.Marshal(toWire(r)) }

// UnmarshalJSON reads what MarshalJSON writes. Unknown keys are errors.
func (r *RepoConfig) UnmarshalJSON(data []byte) error { return fromWire(r, strictJSON(data)) }

// MarshalYAML writes durations as "1h30m" and leaves zero values out.
func (r RepoConfig) MarshalYAML() (any, error) { return toWire(r), nil }

// UnmarshalYAML reads what MarshalYAML writes.
func (r *RepoConfig) UnmarshalYAML(unmarshal func(any) error) error { return fromWire(r, unmarshal) }

// MarshalJSON writes the timeout as "1h30m".
func (p Plan) MarshalJSON() ([]byte, error) { return json.Marshal(toWire(p)) }

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Plan) UnmarshalJSON(data []byte) error {
	return fromWire(p, func(v any) error { return json.Unmarshal(data, v) })
}

// wireInfo is an Info with its duration as text.
type wireInfo struct {
	plainInfo
	Lease textDuration `json:"lease"`
}

type plainInfo Info

// MarshalJSON writes the lease as "5m".
func (i Info) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireInfo{plainInfo(i), textDuration(i.Lease)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (i *Info) UnmarshalJSON(data []byte) error {
	var wire wireInfo
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*i = Info(wire.plainInfo)
	i.Lease = time.Duration(wire.Lease)
	return nil
}

// UnmarshalJSON takes an object with source and target, or a pair.
func (m *Mount) UnmarshalJSON(data []byte) error { return m.decode(strictJSON(data)) }

// UnmarshalYAML takes a mapping with source and target, or a pair.
func (m *Mount) UnmarshalYAML(unmarshal func(any) error) error { return m.decode(unmarshal) }

func (m *Mount) decode(unmarshal func(any) error) error {
	var pair []string
	if unmarshal(&pair) == nil {
		if len(pair) != 2 {
			return fmt.Errorf("a mount has a source and a target, not %d parts", len(pair))
		}
		m.Source, m.Target = pair[0], pair[1]
		return nil
	}
	type plain Mount
	return unmarshal((*plain)(m))
}

func strictJSON(data []byte) func(any) error {
	return func(v any) error {
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		return decoder.Decode(v)
	}
}

// toWire is the struct v with its durations as text. One mechanism serves
// JSON and YAML, and fields need nothing but their tags.
func toWire(v any) any {
	from := reflect.ValueOf(v)
	to := reflect.New(wireType(from.Type())).Elem()
	copyFields(to, from)
	return to.Interface()
}

// fromWire decodes into v, a pointer to a struct, what toWire makes of one.
// Keys that are not there leave their fields as they were.
func fromWire(v any, decode func(any) error) error {
	to := reflect.ValueOf(v).Elem()
	from := reflect.New(wireType(to.Type()))
	copyFields(from.Elem(), to)
	if err := decode(from.Interface()); err != nil {
		return err
	}
	copyFields(to, from.Elem())
	return nil
}

func wireType(t reflect.Type) reflect.Type {
	fields := reflect.VisibleFields(t)
	for i := range fields {
		switch {
		case fields[i].Type == reflect.TypeFor[time.Duration]():
			fields[i].Type = reflect.TypeFor[textDuration]()
		case fields[i].Tag.Get("seer") == "restricts": // an empty list is not the same as none
			fields[i].Type = reflect.PointerTo(fields[i].Type)
		}
	}
	return reflect.StructOf(fields)
}

func copyFields(to, from reflect.Value) {
	for i := range to.NumField() {
		source, target := from.Field(i), to.Field(i)
		switch {
		case source.Kind() == target.Kind() || target.Kind() != reflect.Pointer && source.Kind() != reflect.Pointer:
			target.Set(source.Convert(target.Type()))
		case source.IsNil():
			target.SetZero()
		case target.Kind() == reflect.Pointer:
			target.Set(reflect.New(source.Type()))
			target.Elem().Set(source)
		default:
			target.Set(source.Elem())
		}
	}
}

// textDuration is a duration that is written as "1h30m".
type textDuration time.Duration

func (d textDuration) MarshalText() ([]byte, error) {
	return []byte(formatDuration(time.Duration(d))), nil
}

func (d *textDuration) UnmarshalText(text []byte) error {
	if _, err := strconv.ParseFloat(string(text), 64); err == nil && string(text) != "0" {
		return fmt.Errorf("duration %s has no unit: write %ss for seconds", text, text)
	}
	value, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration: write it as 90s, 30m or 1h30m", text)
	}
	*d = textDuration(value)
	return nil
}

// UnmarshalJSON exists for numbers, which would otherwise be refused with a
// message that names a type of this package.
func (d *textDuration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err == nil {
		return d.UnmarshalText([]byte(text))
	}
	var number json.Number
	if err := json.Unmarshal(data, &number); err == nil {
		return d.UnmarshalText([]byte(number))
	}
	return errors.New("a duration is text: write it as \"90s\", \"30m\" or \"1h30m\"")
}

// formatDuration is d without the zero units that its String ends with.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
