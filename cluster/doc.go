// Package cluster runs the stages of package settle over the logs of an epoch:
// in this process (local) or as a shell pipe (pipe). Both give the same bytes,
// which one conformance suite holds.
//
// A run works in a directory of its own, which no other run may use at the same
// time. Each step of the plan has a folder with its parts; a part is a file of
// rows, a file of feedback lines if there are any, and a sidecar that names the
// inputs it came from and the hash of the rows. A part counts once its sidecar
// is there, so a run that was killed goes on with the parts that are missing.
package cluster
