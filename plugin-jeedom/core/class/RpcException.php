<?php

declare(strict_types=1);

namespace Domoflux;

/** The daemon refuses a call. The message is its own. */
final class RpcException extends \Exception
{
    /** The error in a word: `unknown_flow`, `cannot_listen`, … */
    public string $kind;

    /** @var array<string, mixed> */
    public array $data;

    /** @param array<string, mixed> $error the error object of JSON-RPC */
    public function __construct(array $error)
    {
        parent::__construct((string) ($error['message'] ?? 'the daemon refuses the call'), (int) ($error['code'] ?? 0));
        $this->data = isset($error['data']) && is_array($error['data']) ? $error['data'] : [];
        $this->kind = (string) ($this->data['kind'] ?? '');
    }

    /**
     * What is wrong with a spec, if that is why.
     *
     * @return array<int, array{pointer: string, message: string}>
     */
    public function problems(): array
    {
        return Kinds::pointersIntoSpec($this->data['problems'] ?? []);
    }
}
