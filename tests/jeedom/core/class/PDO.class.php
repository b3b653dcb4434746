<?php

/** The constants that callers of DB::Prepare name; without the extension there are none. */
class PDO
{
    public const FETCH_ASSOC = 2;
    public const FETCH_CLASS = 8;
}
