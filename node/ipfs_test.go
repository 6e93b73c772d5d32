package node

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/types"
)

// TestScreen: a path of the deny lists is refused at the gateway before anything
// looks it up, however it is spelled; others go on.
func TestScreen(t *testing.T) {
	lib, _ := shelf(t)
	n := &Node{deny: denials(t, t.TempDir())}
	c := types.RawCID([]byte("other")).String()
	if _, err := n.deny.Change(t.Context(), lib, api.DenyRequest{Do: api.DenyAdd, Items: []string{"/ipfs/" + c + "/secret"}}); err != nil {
		t.Fatal(err)
	}
	h := n.screen(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for path, want := range map[string]int{
		"/ipfs/" + c + "/secret": http.StatusGone, "/ipfs/" + c + "/%73ecret": http.StatusGone, "/ipfs/" + c + "//secret/": http.StatusGone,
		"/ipfs/" + c + "/a/../secret": http.StatusGone,
		"/ipfs/" + c + "/secrets":     http.StatusTeapot, "/ipfs/" + c: http.StatusTeapot, "/ipfs/nonsense/secret": http.StatusTeapot, "/": http.StatusTeapot,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s: status %d, want %d", path, w.Code, want)
		}
	}
}
