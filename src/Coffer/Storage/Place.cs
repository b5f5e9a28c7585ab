namespace Coffer.Storage;

/// <summary>
/// Where apps and API keys stand in their lists, newest first: by when they count as made (Unix seconds), and within a
/// second by id. It is a place whether something stands there or not.
/// </summary>
internal readonly record struct Place(long Created, string Id);
