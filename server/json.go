package server

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// strictJSON is Connect's JSON, but for one thing: a field it does not know is an
// error. JSON is what people write by hand, and a misspelt context, deadline or
// expiry that is passed over changes what a call does. Programs speak protobuf, in
// which fields of later versions are passed over as ever.
type strictJSON struct{ name string }

var errNoMessage = errors.New("not a protobuf message")

// Name implements [connect.Codec].
func (c strictJSON) Name() string { return c.name }

// Marshal implements [connect.Codec].
func (c strictJSON) Marshal(message any) ([]byte, error) { return c.MarshalAppend(nil, message) }

// MarshalAppend spares Connect a copy.
func (strictJSON) MarshalAppend(b []byte, message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T: %w", message, errNoMessage)
	}
	return protojson.MarshalOptions{}.MarshalAppend(b, m)
}

// Unmarshal implements [connect.Codec].
func (strictJSON) Unmarshal(b []byte, message any) error {
	m, ok := message.(proto.Message)
	switch {
	case !ok:
		return fmt.Errorf("%T: %w", message, errNoMessage)
	case len(b) == 0:
		return errors.New("an empty body, where a JSON object belongs: {} at least")
	}
	if err := protojson.Unmarshal(b, m); err != nil {
		// Protobuf varies the space in its texts, so that nobody relies on them.
		why := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
		of := m.ProtoReflect().Descriptor()
		return fmt.Errorf("%s: %s%s; nothing was done; its fields are in %s", of.Name(), why, wanted(why, of), of.ParentFile().Path())
	}
	return nil
}

var badValue = regexp.MustCompile(`invalid value for (bytes|enum) field (\w+)`)

// wanted says what form a value has that cannot be guessed.
func wanted(why string, of protoreflect.MessageDescriptor) string {
	bad := badValue.FindStringSubmatch(why)
	switch {
	case bad == nil:
		return ""
	case bad[1] == "bytes":
		return ", where bytes in base64 belong"
	}
	field := find(of, bad[2], 8)
	if field == nil || field.Enum() == nil {
		return ""
	}
	var names []string
	for i := range field.Enum().Values().Len() {
		if value := field.Enum().Values().Get(i); value.Number() != 0 {
			names = append(names, string(value.Name()))
		}
	}
	return ", where one of " + strings.Join(names, ", ") + " belongs"
}

// find looks for a field of a message, or of messages in it, so deep.
func find(of protoreflect.MessageDescriptor, name string, depth int) protoreflect.FieldDescriptor {
	fields := of.Fields()
	if f := fields.ByJSONName(name); f != nil {
		return f
	}
	for i := range fields.Len() {
		if inner := fields.Get(i).Message(); inner != nil && depth > 0 {
			if f := find(inner, name, depth-1); f != nil {
				return f
			}
		}
	}
	return nil
}

// IsBinary keeps JSON readable in the query of a GET.
func (strictJSON) IsBinary() bool { return false }
