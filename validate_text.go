package seer

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// texts finds every text of the config, in whatever field, that cannot be sent:
// the protocol takes UTF-8 alone, and a NUL byte ends a text where it arrives.
// Names of files, which travel as bytes, may be any. Nothing more is said of
// such a field.
func (v *validator) texts() {
	before := v.problems
	v.problems = nil
	v.text("", reflect.ValueOf(v.config))
	found := v.problems
	v.problems = slices.DeleteFunc(before, func(p Problem) bool {
		return slices.ContainsFunc(found, func(text Problem) bool { return text.Field == p.Field })
	})
	v.problems = append(v.problems, found...)
}

func (v *validator) text(field string, value reflect.Value) {
	switch value.Kind() {
	case reflect.Struct:
		for i := range value.NumField() {
			name := value.Type().Field(i).Name
			v.text(strings.TrimPrefix(field+"."+name, "."), value.Field(i))
		}
	case reflect.Slice:
		for i := range value.Len() {
			v.text(at(field, i), value.Index(i))
		}
	case reflect.Map:
		names := value.MapKeys()
		slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, name := range names {
			v.text(atKey(field, name.String()), value.MapIndex(name))
		}
	case reflect.String:
		text := value.String()
		shown := quoted(text)
		if strings.HasPrefix(field, "Env[") || strings.HasSuffix(field, ".URL") { // which may hold a secret
			shown = ""
		}
		file := strings.HasPrefix(field, "LocalFiles[") || strings.HasPrefix(field, "LocalDirs[")
		if message := unsendable(text); message != "" && (!file || strings.ContainsRune(text, 0)) {
			v.problem(field, shown, "%s", message)
		}
	default: // numbers
	}
}

// unsendable says why a text cannot be sent; "" = it can.
func unsendable(text string) string {
	switch {
	case strings.ContainsRune(text, 0):
		return "holds a NUL byte"
	case !utf8.ValidString(text):
		return "is no UTF-8 text"
	}
	return ""
}

var variableStart = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)

// refersTo reports whether a text uses a variable as a shell would expand it.
func refersTo(text, name string) bool {
	used := false
	os.Expand(text, func(reference string) string {
		used = used || variableStart.FindString(reference) == name
		return ""
	})
	return used
}
