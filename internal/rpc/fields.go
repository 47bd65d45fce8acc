package rpc

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// field is a field of a struct by the rules of encoding/json, which has no way
// to ask for them.
type field struct {
	name      string
	index     []int
	tagged    bool
	omitEmpty bool
	omitZero  bool
	quoted    bool // ",string"
}

var knownFields sync.Map // reflect.Type to []field

// fieldsOf returns the fields of a struct type in the order of its definition,
// promoted ones included.
func fieldsOf(t reflect.Type) []field {
	if known, ok := knownFields.Load(t); ok {
		return known.([]field) //nolint:errcheck,forcetypeassert // nothing else is stored
	}
	all := allFields(t)
	slices.SortStableFunc(all, func(a, b field) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(len(a.index), len(b.index)), boolean(b.tagged)-boolean(a.tagged))
	})
	var chosen []field
	for rest := all; len(rest) > 0; {
		same := 1
		for same < len(rest) && rest[same].name == rest[0].name {
			same++
		}
		ambiguous := same > 1 && len(rest[1].index) == len(rest[0].index) && rest[1].tagged == rest[0].tagged
		if !ambiguous {
			chosen = append(chosen, rest[0])
		}
		rest = rest[same:]
	}
	slices.SortFunc(chosen, func(a, b field) int { return slices.Compare(a.index, b.index) })
	known, _ := knownFields.LoadOrStore(t, chosen)
	return known.([]field) //nolint:errcheck,forcetypeassert // nothing else is stored
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// embedded is a struct whose fields are promoted.
type embedded struct {
	t     reflect.Type
	index []int
}

// allFields walks embedded structs level by level. Of a type that is embedded
// twice on one level, the fields come twice, and so hide each other.
func allFields(t reflect.Type) []field {
	var all []field
	visited := map[reflect.Type]bool{}
	level, count := []embedded{{t: t}}, map[reflect.Type]int{t: 1}
	for len(level) > 0 {
		var next []embedded
		nextCount := map[reflect.Type]int{}
		for _, e := range level {
			if visited[e.t] {
				continue
			}
			visited[e.t] = true
			for i := range e.t.NumField() {
				sf := e.t.Field(i)
				index := append(slices.Clone(e.index), i)
				inner := sf.Type
				if inner.Name() == "" && inner.Kind() == reflect.Pointer {
					inner = inner.Elem()
				}
				if !sf.IsExported() && (!sf.Anonymous || inner.Kind() != reflect.Struct) {
					continue
				}
				f, ok := tagOf(sf, inner)
				if !ok {
					continue
				}
				f.index = index
				if sf.Anonymous && !f.tagged && inner.Kind() == reflect.Struct {
					if nextCount[inner]++; nextCount[inner] == 1 {
						next = append(next, embedded{inner, index})
					}
					continue
				}
				for range min(count[e.t], 2) {
					all = append(all, f)
				}
			}
		}
		level, count = next, nextCount
	}
	return all
}

// tagOf reads a field's json tag; false says that the field is left out.
func tagOf(sf reflect.StructField, inner reflect.Type) (field, bool) {
	tag := sf.Tag.Get("json")
	if tag == "-" {
		return field{}, false
	}
	name, options, _ := strings.Cut(tag, ",")
	f := field{name: name, tagged: true}
	if !validName(name) {
		f.name, f.tagged = sf.Name, false
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
		case "string":
			kind := inner.Kind()
			f.quoted = kind >= reflect.Bool && kind <= reflect.Float64 || kind == reflect.String
		}
	}
	return f, true
}

func validName(name string) bool {
	for _, r := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return name != ""
}

// left says whether a field's value is left out of what is written.
func (f field) left(value reflect.Value) bool {
	if f.omitZero {
		if zero, ok := value.Interface().(interface{ IsZero() bool }); ok {
			return value.Kind() == reflect.Pointer && value.IsNil() || zero.IsZero()
		}
		if value.CanAddr() {
			if zero, ok := value.Addr().Interface().(interface{ IsZero() bool }); ok {
				return zero.IsZero()
			}
		}
		if value.IsZero() {
			return true
		}
	}
	if !f.omitEmpty {
		return false
	}
	switch value.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return value.Len() == 0
	case reflect.Struct:
		return false
	}
	return value.IsZero()
}
