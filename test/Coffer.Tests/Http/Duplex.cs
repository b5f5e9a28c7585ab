using System.IO.Pipelines;

namespace Coffer.Tests.Http;

/// <summary>What a connection reads from, and what it writes to.</summary>
internal sealed record Duplex(PipeReader Input, PipeWriter Output) : IDuplexPipe;
