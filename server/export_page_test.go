package server

// ListingSum is what a cursor of a listing begins with.
var ListingSum = listingSum
