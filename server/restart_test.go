package server

import (
	"net/http"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
)

// X11, X13: a context is worth the same after a restart of the node that issued
// it, and never anything for another key.
func TestAContextOutlivesTheNodeThatIssuedItAndIsWorthNothingElsewhere(t *testing.T) {
	c := newTestCluster(t, 1)
	put := func(key, value, context string) (string, error) {
		blobs := cartwheelv1connect.NewBlobServiceClient(http.DefaultClient, "http://"+c.nodes[0].APIAddr())
		r, err := blobs.Put(t.Context(), connect.NewRequest(&v1.BlobServicePutRequest{Bucket: "notes", Key: key, Value: []byte(value), Context: context}))
		if err != nil {
			return "", err
		}
		return r.Msg.GetContext(), nil
	}
	context, err := put("monday", "v1", "")
	if err != nil {
		t.Fatal(err)
	}
	c.stop(0)
	c.start(0)
	if _, err := put("tuesday", "v2", context); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("Monday's context on Tuesday's key: %v", err)
	}
	if _, err := put("monday", "v2", context); err != nil {
		t.Fatal(err)
	}
	blobs := cartwheelv1connect.NewBlobServiceClient(http.DefaultClient, "http://"+c.nodes[0].APIAddr())
	for key, want := range map[string]string{"monday": "v2", "tuesday": ""} {
		got, err := blobs.Get(t.Context(), connect.NewRequest(&v1.BlobServiceGetRequest{Bucket: "notes", Key: key}))
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, s := range got.Msg.GetSiblings() {
			text += string(s)
		}
		if text != want {
			t.Errorf("%s holds %q, want %q alone", key, text, want)
		}
	}
}
