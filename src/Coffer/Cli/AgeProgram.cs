using System.ComponentModel;
using System.Diagnostics;

namespace Coffer.Cli;

/// <summary>The program <c>age</c>, which encrypts to people's public keys (age-encryption.org).</summary>
internal static class AgeProgram
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>Encrypts to each of the recipients.</summary>
    /// <param name="text">What.</param>
    /// <param name="recipients">As <c>age -r</c> reads them: <c>age1…</c>, <c>ssh-ed25519 …</c>.</param>
    /// <param name="ct">Ends the wait.</param>
    /// <exception cref="ConfigurationException">The program is missing, or refuses.</exception>
    public static async Task<byte[]> EncryptAsync(
        ReadOnlyMemory<byte> text, IEnumerable<string> recipients, CancellationToken ct)
    {
        var start = new ProcessStartInfo("age", recipients.SelectMany(each => (string[])["-r", each]))
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        using var process = Started(start);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(Patience);
        try
        {
            using var encrypted = new MemoryStream();
            var reading = process.StandardOutput.BaseStream.CopyToAsync(encrypted, limit.Token);
            var complaint = process.StandardError.ReadToEndAsync(limit.Token);
            try
            {
                await process.StandardInput.BaseStream.WriteAsync(text, limit.Token);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // It did not read what it was given; what it has to say of that comes next.
            }

            await Task.WhenAll(reading, complaint, process.WaitForExitAsync(limit.Token));
            return process.ExitCode == 0 && encrypted.Length > 0
                ? encrypted.ToArray()
                : throw new ConfigurationException(
                    $"age ended with {process.ExitCode}: {(await complaint).Split('\n')[0]}",
                    "Give --recipient as age -r reads it, such as age1…. Nothing was stored.");
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new ConfigurationException($"age has not ended within {Patience.TotalSeconds:0} seconds",
                "Try it by hand. Nothing was stored.");
        }
        finally
        {
            if (!process.HasExited)
                process.Kill();
        }
    }

    private static Process Started(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception e)
        {
            throw new ConfigurationException($"the program age cannot be started: {e.Message}",
                "Install it (on Debian: apt install age), or leave out --recipient: then the file is not encrypted. "
                    + "Nothing was stored.");
        }
    }
}
