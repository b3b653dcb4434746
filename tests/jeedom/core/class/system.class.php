<?php

class system
{
    /** Nothing in the tests may need root. */
    public static function getCmdSudo(): string
    {
        return '';
    }
}
