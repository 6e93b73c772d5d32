package library

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/staddle/staddle/types"
)

const vectorFile = "../spec/vectors/library.json"

// vectors is spec/vectors/library.json.
type vectors struct {
	Held       string            `json:"held"`     // row of the dataset in rows_test.go
	Leftover   string            `json:"leftover"` // row of a put of /films, begun at 3, owner put/9
	FolderKey  string            `json:"folder_key"`
	Recipe     string            `json:"recipe"`  // of exampleRecipe in inplace_test.go
	Risk       string            `json:"risk"`    // /films/a "is gone" since 3
	Version    string            `json:"version"` // H("vector") put from /films as "films" at 3
	VersionKey string            `json:"version_key"`
	RiskKey    string            `json:"risk_key"`   // of /films/a under place/9
	References map[string]string `json:"references"` // what is read -> what is written; "" is refused
}

func TestVectors(t *testing.T) {
	h := exampleHeld()
	id := types.H("vector")
	root := types.NodeCIDOf(id).String()
	v := Version{Dataset: types.H("vector"), Folder: "/films", Name: "films", Added: 3}
	got := vectors{
		Recipe:  hex.EncodeToString(types.Marshal(exampleRecipe())),
		Risk:    hex.EncodeToString(types.Marshal(&Risk{File: "/films/a", Reason: "is gone", Since: 3})),
		Version: hex.EncodeToString(types.Marshal(&v)), VersionKey: v.key(), RiskKey: riskKey("place/9", "/films/a"),

		Held:      hex.EncodeToString(types.Marshal(&h)),
		Leftover:  hex.EncodeToString(types.Marshal(&Leftover{Folder: "/films", Started: 3, owner: "put/9"})),
		FolderKey: types.H("staddle/library/folder/1", []byte("/films")).String(), References: map[string]string{},
	}
	for _, s := range []string{
		Scheme + root, root, id.String(), id.String() + "//a/./b/", "films", "films/größe", "", Scheme, Scheme + "films",
		root + "/../x", types.RawCIDOf(id).String(), "films/\x00",
	} {
		got.References[s] = ""
		if r, err := ParseRef(s); err == nil {
			got.References[s] = r.String()
		}
	}
	if os.Getenv("UPDATE_VECTORS") != "" {
		out, err := json.MarshalIndent(got, "", "  ")
		ok(t, err)
		ok(t, os.WriteFile(vectorFile, append(out, '\n'), 0o644))
	}
	raw, err := os.ReadFile(vectorFile)
	ok(t, err)
	var want vectors
	ok(t, json.Unmarshal(raw, &want))
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	var again Held
	b, err := hex.DecodeString(want.Held)
	ok(t, err)
	ok(t, types.Unmarshal(b, &again))
}
