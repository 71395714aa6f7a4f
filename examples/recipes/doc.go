// Package recipes shows what people use such a store for, each thing in one file
// and a few lines: a cart with quantities, likes, a session store, feature flags,
// presence, a leaderboard. docs/recipes.md explains them; the examples run against
// a cluster of three nodes. The same recipes in TypeScript are in sdk/ts/examples.
package recipes
