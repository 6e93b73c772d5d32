package gateway

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the vectors of the spec anew")

const vectorPath = "../spec/vectors/gateway.json"

type vectorFile struct {
	Comment string   `json:"comment"`
	Targets []string `json:"targets"`
	Refused []string `json:"refused"`
}

// TestVectors: the targets that exist, in their one form, and those that do not.
func TestVectors(t *testing.T) {
	f := vectorFile{Comment: "Request targets. See spec/gateway.md.", Targets: targets}
	for _, raw := range hostile {
		if !strings.ContainsRune(raw, 0) && len(raw) < maxTarget {
			f.Refused = append(f.Refused, raw)
		}
	}
	want, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(vectorPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(vectorPath)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != string(want) {
		t.Fatalf("%s differs from what is made", vectorPath)
	}
	var read vectorFile
	if err := json.Unmarshal(have, &read); err != nil {
		t.Fatal(err)
	}
	for _, raw := range read.Targets {
		if got, err := parseTarget(raw); err != nil || got.String() != raw {
			t.Errorf("%s: %v", raw, err)
		}
	}
	for _, raw := range read.Refused {
		if _, err := parseTarget(raw); err == nil {
			t.Errorf("%q is taken", raw)
		}
	}
}
