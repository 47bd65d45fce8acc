package mcpserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// The inputs of the tools of sessions are structs of texts, whole numbers,
// truth values and maps of texts. A field is optional if its tag says
// omitempty; a pointer tells a value that was left out from an empty one.

// inputField is a field of such a struct.
type inputField struct {
	name, description string
	kind              string // as JSON Schema names it
	required          bool
	index             []int
}

func inputFields(t reflect.Type) []inputField {
	var fields []inputField
	for _, sf := range reflect.VisibleFields(t) {
		if sf.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		inner := sf.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		kind := map[reflect.Kind]string{reflect.String: "string", reflect.Bool: "boolean", reflect.Map: "object"}[inner.Kind()]
		if kind == "" {
			kind = "integer"
		}
		fields = append(fields, inputField{
			name: name, description: sf.Tag.Get("jsonschema"), kind: kind, required: options != "omitempty", index: sf.Index,
		})
	}
	return fields
}

// inputSchema is the JSON Schema of a tool's arguments.
func inputSchema[In any]() map[string]any {
	properties := map[string]any{}
	required := []string{}
	for _, f := range inputFields(reflect.TypeFor[In]()) {
		property := map[string]any{"type": f.kind}
		if f.description != "" {
			property["description"] = f.description
		}
		if f.kind == "object" {
			property["additionalProperties"] = map[string]any{"type": "string"}
		}
		properties[f.name] = property
		if f.required {
			required = append(required, f.name)
		}
	}
	schema := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}

// readInput makes a tool's input of the arguments of a call. Null for an
// optional one counts as left out, and a text that plainly means another value
// is read; what is wrong is said in words that an agent can act on.
func readInput[In any](arguments json.RawMessage) (in In, err error) {
	given, err := readObject(arguments)
	if err != nil {
		return in, err
	}
	fields := inputFields(reflect.TypeFor[In]())
	var names, missing []string
	for _, f := range fields {
		names = append(names, f.name)
		value, found := given[f.name]
		delete(given, f.name)
		switch {
		case !found && f.required:
			missing = append(missing, f.name)
			continue
		case !found || string(value) == "null" && !f.required:
			continue
		}
		field := reflect.ValueOf(&in).Elem().FieldByIndex(f.index)
		if field.Kind() == reflect.Pointer {
			field.Set(reflect.New(field.Type().Elem()))
			field = field.Elem()
		}
		if err := readArgument(field, value); err != nil {
			return in, fmt.Errorf("argument %s: %w", f.name, err)
		}
	}
	if len(missing) > 0 {
		return in, fmt.Errorf("missing argument %s", strings.Join(missing, ", "))
	}
	for name := range given {
		takes := "none"
		if len(names) > 0 {
			takes = strings.Join(names, ", ")
		}
		return in, fmt.Errorf("unknown argument %.100q; it takes %s", name, takes)
	}
	return in, nil
}

// readObject reads an object, which some clients send as a text.
func readObject(data json.RawMessage) (map[string]json.RawMessage, error) {
	var object map[string]json.RawMessage
	if len(data) == 0 || json.Unmarshal(data, &object) == nil {
		return object, nil
	}
	var text string
	if json.Unmarshal(data, &text) == nil && json.Unmarshal([]byte(text), &object) == nil {
		return object, nil
	}
	return nil, expected("an object", data)
}

func expected(wanted string, data json.RawMessage) error {
	return fmt.Errorf("expected %s, got %s", wanted, jsonWords(data))
}

// jsonWords says what a JSON value is.
func jsonWords(data json.RawMessage) string {
	switch text := strings.TrimSpace(string(data)); {
	case strings.HasPrefix(text, "{"):
		return "an object"
	case strings.HasPrefix(text, "["):
		return "a list"
	case strings.HasPrefix(text, `"`):
		return fmt.Sprintf("the string %.60s", text)
	default:
		return fmt.Sprintf("%.60s", text)
	}
}

func readArgument(field reflect.Value, data json.RawMessage) error {
	var text string
	isText := string(data) != "null" && json.Unmarshal(data, &text) == nil
	switch field.Kind() {
	case reflect.String:
		if !isText {
			return expected("a string", data)
		}
		field.SetString(text)
	case reflect.Bool:
		if !isText {
			text = string(data)
		}
		at := slices.Index([]string{"false", "true", "0", "1"}, strings.ToLower(strings.TrimSpace(text)))
		if at < 0 {
			return expected("true or false", data)
		}
		field.SetBool(at%2 == 1)
	case reflect.Map:
		object, err := readObject(data)
		if err != nil || string(data) == "null" {
			return expected("an object", data)
		}
		texts := map[string]string{}
		for name, value := range object {
			var text string
			if string(value) == "null" || json.Unmarshal(value, &text) != nil {
				return fmt.Errorf("[%.60q]: %w", name, expected("a string", value))
			}
			texts[name] = text
		}
		field.Set(reflect.ValueOf(texts))
	default:
		if !isText {
			text = string(data)
		}
		number, err := wholeNumber(strings.TrimSpace(text))
		if errors.Is(err, strconv.ErrRange) || err == nil && field.OverflowInt(number) {
			return expected("an integer of at most 64 bits", data)
		}
		if err != nil {
			return expected("an integer", data)
		}
		field.SetInt(number)
	}
	return nil
}

// wholeNumber reads an integer, which some writers of JSON write as 5.0.
func wholeNumber(text string) (int64, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return number, err
	}
	float, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, err
	}
	if float != math.Trunc(float) {
		return 0, strconv.ErrSyntax
	}
	if math.Abs(float) >= 1<<63 {
		return 0, strconv.ErrRange
	}
	return int64(float), nil
}
